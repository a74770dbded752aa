//! What proxies are given while they run: other configurations, and other files that these name.

use serde_yaml::Spanned;

use super::document::Document;
use super::load::Reading;
use super::revoked::fill;
use super::tree::options;
use super::{Cue, Host, Intervention, ProxyConfig, Reload, Reloaded, ReloadedFrom, Role, ScenarioError, Step};

impl Reading<'_> {
    /// Reads the configurations that proxies are given while they run.
    pub(super) fn reloads(&self, script: &mut [Spanned<Cue>], hosts: &[Host]) -> Result<(), ScenarioError> {
        for cue in script {
            match &mut cue.value.step {
                Step::Background(cues) => self.reloads(cues, hosts)?,
                Step::Repeat(repeat) => self.reloads(&mut repeat.steps, hosts)?,
                Step::Happen(Intervention::Reload(reload)) => {
                    let host = hosts.iter().find(|host| host.name == reload.host);
                    fill(&mut reload.certificates, hosts)
                        .map_err(|what| self.error(cue.referenced, format!("`{}` {what}", reload.host)))?;
                    reload.read = self.reloaded(cue.referenced, host.map(|host| &host.role), reload)?;
                }
                Step::Barrier(_) | Step::Do { .. } | Step::Happen(_) | Step::Nothing | Step::Wait(_) => {}
            }
        }
        Ok(())
    }

    fn reloaded(
        &self,
        here: serde_yaml::Location,
        role: Option<&Role>,
        reload: &Reload,
    ) -> Result<Option<ProxyConfig>, ScenarioError> {
        let Some(Role::Proxy(given)) = role else {
            return Err(self.error(here, format!("`{}` is not a proxy: only proxies reload", reload.host)));
        };
        let ProxyConfig { file, text, exact, unpatched, certificates, files, leave_out, env, .. } = given;
        if let Some((unknown, _)) = reload.files.iter().find(|(path, _)| !files.contains_key(*path)) {
            let what = format!("`{}` has no file {unknown}: write it in `files` of the host first", reload.host);
            return Err(self.error(here, what));
        }
        if reload.paths().next().is_some() {
            return Ok(None);
        }
        let (mut config, from) = match &reload.config {
            Some(config) => (self.proxy(config, &reload.patch, *exact, env.clone())?, ReloadedFrom::File),
            None => {
                let value = serde_yaml::from_str_with_options(text, options(text))
                    .map_err(|error| ScenarioError::of_yaml(file, &Document::new(text), &error))?;
                let name = file.trim_end_matches(", patched").trim_end_matches(", inline");
                let unpatched = match file.ends_with(", inline") {
                    true => None,
                    false => Some(unpatched.as_ref().unwrap_or(text).clone()),
                };
                (self.patched(name, value, &reload.patch, unpatched, *exact)?, ReloadedFrom::Patch)
            }
        };
        let line = usize::try_from(here.line()).unwrap_or(usize::MAX);
        config.certificates = certificates.clone();
        config.files.clone_from(files);
        config.leave_out = leave_out.clone();
        config.reloaded = Some(Box::new(Reloaded { line, first: text.clone(), from }));
        Ok(Some(config))
    }
}
