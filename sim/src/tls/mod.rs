//! TLS in a run: the proxy's own code and that of clients and apps, over simulated sockets, in virtual time.
//!
//! A run stays a function of its scenario and its seed, since [`provider`] gives rustls what it computes with: secrets
//! come from the [`machine`] whose program runs, certificates from [`authority`], whatever [`files`] a configuration names.
//! [`ends`] are those of clients and apps.

mod any_certificate;
mod authority;
mod der;
mod ends;
mod files;
mod io;
mod machine;
mod provider;
mod tickets;

use std::error::Error;

pub(crate) use authority::Authorities;
pub(crate) use ends::{AppEnd, ClientEnd};
pub(crate) use files::{Files, describe_certificate, describe_file};
pub(crate) use machine::Machine;
pub(crate) use provider::crypto;

/// The error of rustls that an error comes from; none if it comes from elsewhere.
pub(crate) fn error_within<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = within.and_then(|within| within.downcast_ref()) {
            return Some(tls);
        }
        next = error.source();
    }
    None
}
