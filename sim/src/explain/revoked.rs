//! The list of revoked certificates by which a proxy judged the other side of a handshake.

use std::time::Duration;

use super::ms;
use super::settings::{HostSettings, Path, Setting, find, path};
use crate::scenario::{CertificateFile, TimeStep};
use crate::trace::conversation::Conversation;

/// Where the list is named, below a filter chain or a cluster.
const LIST: &str = "transport_socket.typed_config.common_tls_context.validation_context.crl";

/// A list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct List {
    /// Where the configuration names it, with its path.
    pub(super) setting: Setting,
    /// Since when it is out of date, in the time of the run; none if it is not, or if that is not known.
    pub(super) expired: Option<Duration>,
}

impl List {
    /// That of a proxy which is the server of a connection, or else its client; none if it has no list.
    pub(super) fn of(
        settings: &HostSettings<'_>,
        conversation: &Conversation,
        is_server: bool,
        at: Duration,
    ) -> Option<Self> {
        let parent: Path = match is_server {
            true => settings.chain(conversation)?,
            false => {
                path(&format!("static_resources clusters {}", settings.cluster_with(conversation.server_address)?))
            }
        };
        let steps = [parent.as_slice(), &LIST.split('.').map(str::to_owned).collect::<Path>()].concat();
        let text = settings.text()?;
        let written = find(&text, &steps)?;
        let file = written.get("filename").and_then(|path| path.as_str());
        let described = file.and_then(|file| settings.given()?.certificates.get(file));
        let until = match described {
            Some(CertificateFile::Revocations(list)) => Some(list.next_update),
            Some(CertificateFile::Certificate(_) | CertificateFile::Text(_)) | None => None,
        };
        let expired = until.and_then(|until| match until {
            TimeStep::Back(_) => Some(Duration::ZERO),
            TimeStep::Forth(time) => (at > time.0).then_some(time.0),
        });
        let setting = settings.setting(&parent, LIST, file.map(str::to_owned));
        Some(Self { setting, expired })
    }

    /// Whether the time of the list is over.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.expired.is_some()
    }

    /// That its time is over, in words.
    pub(super) fn fault(&self) -> String {
        let file = self.setting.value.as_deref().map_or_else(String::new, |file| format!(" {file}"));
        let since = self.expired.map_or_else(String::new, |at| format!(" since {}", ms(at)));
        format!(
            "its list of revoked certificates{file} is out of date{since}, so no certificate of its authority is accepted"
        )
    }
}
