//! Which coding a client gets of those that compressors of the chain offer (RFC 9110 12.5.3), in Envoy's reading: tokens are
//! compared as they are, and a client that accepts `identity` more than others gets no coding.

use crate::config::compression::{Coding, Preference};

/// What a compressor offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Offer {
    pub(super) coding: Coding,
    pub(super) preference: Preference,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Choice {
    /// It names this coding.
    Coding(Coding),
    /// It likes none as much as no coding.
    Identity,
    /// It names nothing that there is.
    Invalid,
    /// It takes any.
    Wildcard(Coding),
}

impl Choice {
    pub(super) fn coding(self) -> Option<Coding> {
        match self {
            Self::Coding(coding) | Self::Wildcard(coding) => Some(coding),
            Self::Identity | Self::Invalid => None,
        }
    }
}

/// `accepted` is the client's `accept-encoding`; of several offers of one coding the first counts.
pub(super) fn choose(accepted: &str, offers: &[Offer]) -> Choice {
    let tokens: Vec<(&str, f32)> = accepted.split(',').filter_map(token).collect();
    let is_refused = |coding: Coding| tokens.iter().any(|(name, quality)| *name == coding.token() && *quality == 0.0);
    let mut allowed: Vec<Offer> = Vec::new();
    for offer in offers {
        if !is_refused(offer.coding) && !allowed.iter().any(|other| other.coding == offer.coding) {
            allowed.push(*offer);
        }
    }
    let Some(first) = allowed.first().filter(|_| !tokens.is_empty()) else { return Choice::Invalid };
    let (mut choice, mut best) = (Choice::Invalid, 0.0);
    for (name, quality) in tokens {
        let offer = allowed.iter().find(|offer| offer.coding.token() == name);
        let named = match (name, offer) {
            ("identity", _) => Choice::Identity,
            ("*", _) => Choice::Wildcard(first.coding),
            (_, Some(offer)) => Choice::Coding(offer.coding),
            (_, None) => continue,
        };
        let is_preferred = offer.is_some_and(|offer| offer.preference == Preference::First);
        if quality > best || quality == best && quality > 0.0 && is_preferred {
            (choice, best) = (named, quality);
        }
    }
    choice
}

/// A coding and its quality; what has no number for one is left out.
fn token(text: &str) -> Option<(&str, f32)> {
    if text.is_empty() {
        return None;
    }
    let Some((name, parameters)) = text.split_once(';') else { return Some((text.trim(), 1.0)) };
    let quality = match parameters.split_once('=') {
        Some((key, value)) if key.trim().eq_ignore_ascii_case("q") => value.trim().parse().ok()?,
        Some(_) | None => 1.0,
    };
    Some((name.trim(), quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_with_the_highest_quality_is_chosen() {
        let offer = |coding| Offer { coding, preference: Preference::None };
        let offers = [offer(Coding::Gzip), offer(Coding::Brotli), offer(Coding::Gzip)];
        for (accepted, expected) in [
            ("gzip", Choice::Coding(Coding::Gzip)),
            ("br", Choice::Coding(Coding::Brotli)),
            ("gzip, br", Choice::Coding(Coding::Gzip)),
            ("gzip;q=0.5, br;q=0.8", Choice::Coding(Coding::Brotli)),
            ("gzip;q=0.5,identity", Choice::Identity),
            ("identity, gzip", Choice::Identity),
            ("*", Choice::Wildcard(Coding::Gzip)),
            ("gzip;q=0, *", Choice::Wildcard(Coding::Brotli)),
            ("gzip;q=0, br;q=0", Choice::Invalid),
            ("GZIP", Choice::Invalid),
            ("deflate, zstd", Choice::Invalid),
            ("gzip;q=x, br", Choice::Coding(Coding::Brotli)),
            ("gzip;level=3", Choice::Coding(Coding::Gzip)),
            ("", Choice::Invalid),
        ] {
            assert_eq!(choose(accepted, &offers), expected, "{accepted:?}");
        }
        assert_eq!(choose("gzip", &[]), Choice::Invalid);
        let preferred = [offer(Coding::Gzip), Offer { coding: Coding::Brotli, preference: Preference::First }];
        assert_eq!(choose("gzip, br", &preferred), Choice::Coding(Coding::Brotli));
        assert_eq!(choose("gzip, br;q=0.9", &preferred), Choice::Coding(Coding::Gzip));
    }
}
