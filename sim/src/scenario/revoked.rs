//! The certificates on lists of revoked ones: a scenario names hosts, and a list has what identifies their certificates.

use super::load::Reading;
use super::{Certificate, CertificateFile, Certificates, Host, Ordered, ProxyConfig, Role, ScenarioError};

impl Reading<'_> {
    /// Fills the lists that proxies begin with.
    pub(super) fn revoke(&self, mut hosts: Vec<Host>) -> Result<Vec<Host>, ScenarioError> {
        let before = hosts.clone();
        for host in &mut hosts {
            if let Role::Proxy(ProxyConfig { certificates: Certificates(files), .. }) = &mut host.role {
                fill(files, &before)
                    .map_err(|what| ScenarioError::of_file(self.path(), format!("`{}` {what}", host.name)))?;
            }
        }
        Ok(hosts)
    }
}

/// Fills lists with the certificates of the hosts that they name.
///
/// # Errors
/// There is no such host.
pub(super) fn fill(files: &mut Ordered<CertificateFile>, hosts: &[Host]) -> Result<(), String> {
    for (path, file) in &mut files.0 {
        let CertificateFile::Revocations(list) = file else { continue };
        list.certificates.clear();
        for revoked in &list.revoked {
            let host = hosts.iter().find(|host| host.name == *revoked);
            let host = host.ok_or_else(|| format!("has {path}, which revokes `{revoked}`, which is no host"))?;
            list.certificates.extend(shown(&host.role).into_iter().map(|names| (revoked.clone(), names)));
        }
    }
    Ok(())
}

/// The names in every certificate that such a host may show.
fn shown(role: &Role) -> Vec<Vec<String>> {
    let names = |certificate: &Certificate| certificate.names.clone();
    match role {
        Role::Alb(alb) => {
            let target = alb.target_tls.iter().filter_map(|tls| tls.certificate.as_ref());
            alb.listener_tls.iter().map(|tls| &tls.certificate).chain(target).map(names).collect()
        }
        Role::App(app) => app.tls.iter().map(|tls| names(&tls.certificate)).collect(),
        Role::Client(client) => client.tls.iter().filter_map(|tls| tls.certificate.as_ref()).map(names).collect(),
        Role::Proxy(config) => {
            let described = config.certificates.0.iter().filter_map(|(_, file)| match file {
                CertificateFile::Certificate(certificate) => Some(names(certificate)),
                CertificateFile::Revocations(_) | CertificateFile::Text(_) => None,
            });
            // Files that are not described are for the host.
            described.chain([Vec::new()]).collect()
        }
    }
}
