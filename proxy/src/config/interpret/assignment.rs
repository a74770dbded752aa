//! The endpoints of a cluster of type EDS, from the file that `path_config_source` names.

use serde_json::Value;

use super::data_source;
use crate::config::assignment::{Assigned, Found};
use crate::config::bootstrap::cluster::{AssignmentResource, AssignmentResponse, Cluster as Written, DiscoveryType};
use crate::config::error::{Cause, Place};
use crate::config::kept_endpoints::Endpoints;
use crate::config::problem::Problem;
use crate::config::yaml::{At, Node, Notes, decode};

/// A file of endpoints.
pub(super) struct File {
    path: String,
    /// Where the configuration names it.
    place: Place,
    service: String,
    text: String,
}

/// Why a file is of no use.
type Refusal = Found;

fn leaves_out_source(cluster: &Written, notes: &Notes) -> bool {
    let of = cluster.name.place.path.strip_suffix(".name").unwrap_or_default();
    notes.surroundings().leaves_out(&format!("{of}.eds_cluster_config"))
}

impl File {
    /// The file of a cluster of type EDS; others have none.
    pub(super) fn of(cluster: &mut Written, notes: &Notes) -> Result<Option<Self>, Problem> {
        match (cluster.r#type, &cluster.eds_cluster_config) {
            // Without its source, which is left out, it is a cluster without endpoints of its own.
            (Some(DiscoveryType::Eds), None) if leaves_out_source(cluster, notes) => {
                cluster.r#type = None;
                return Ok(None);
            }
            (Some(DiscoveryType::Eds), _) => {}
            (_, Some(config)) => {
                return Err(config.invalid_but("eds_cluster_config set in a non-EDS cluster", "write type: EDS"));
            }
            (_, None) => return Ok(None),
        }
        if let Some(assigned) = cluster.load_assignment.take() {
            notes.note(
                &assigned.place,
                "has no effect: the endpoints of a cluster of type EDS come from the file of eds_config",
            );
        }
        let Some(config) = &cluster.eds_cluster_config else {
            return Err(cluster.name.invalid_but(
                "cannot create an EDS cluster without an EDS config",
                "write eds_cluster_config: { eds_config: { path_config_source: { path: ... } } }",
            ));
        };
        let Some(source) = &config.value.eds_config else {
            return Err(config.invalid_but(
                "Missing config source specifier",
                "write eds_config: { path_config_source: { path: ... } }",
            ));
        };
        let path = data_source::watched(source, notes)?;
        let elsewhere = notes.surroundings().endpoints(&path.value);
        let text = elsewhere.map_or_else(|| data_source::file(path), |read| data_source::found(path, read))?;
        Ok(Some(Self {
            path: path.value.to_string(),
            place: path.place.clone(),
            service: config.value.service_name.clone(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }))
    }

    /// What the file brings `cluster`, as `endpoints` reads it.
    pub(super) fn read(
        self,
        cluster: &mut Written,
        notes: &Notes,
        endpoints: impl FnOnce(&Written) -> Result<Endpoints, Problem>,
    ) -> (Assigned, Option<Endpoints>) {
        let own = Notes::within(notes.surroundings());
        let (found, version, message, endpoints) = match self.response(&own) {
            Err(refusal) => (refusal, String::new(), Value::Null, None),
            Ok((AssignmentResponse { resources, version_info }, message)) => {
                match self.assigned(resources, cluster, endpoints) {
                    Ok(Some(endpoints)) => (Found::Assignment, version_info, message, Some(endpoints)),
                    Ok(None) => (Found::Nothing, version_info, Value::Null, None),
                    Err(why) => (Found::Unusable(why), version_info, Value::Null, None),
                }
            }
        };
        for (place, text) in own.into_sorted() {
            notes.note(&self.place, format!("in {}: {}: {text}", self.path, place.path));
        }
        if let Some(why) = found.refusal() {
            notes.note(&self.place, format!("names a file of endpoints that is refused: {why}"));
        }
        (Assigned { path: self.path, service: self.service, version, found, message }, endpoints)
    }

    /// The response that the file is, and its resources as they were written.
    fn response(&self, notes: &Notes) -> Result<(AssignmentResponse, Value), Refusal> {
        let tree = Node::parse(&self.text).map_err(|problem| Found::Unreadable(self.told(problem)))?;
        let response = decode(&tree, notes).map_err(|problem| match is_of_another_type(&problem) {
            true => Found::Unreadable(self.told(problem)),
            false => Found::Unusable(self.told(problem)),
        })?;
        Ok((response, tree.to_message().get_mut("resources").map(Value::take).unwrap_or_default()))
    }

    /// What the one resource means for `cluster`; `None` if there is none.
    fn assigned(
        &self,
        mut resources: Vec<At<AssignmentResource>>,
        cluster: &mut Written,
        endpoints: impl FnOnce(&Written) -> Result<Endpoints, Problem>,
    ) -> Result<Option<Endpoints>, String> {
        let length = resources.len();
        let (Some(At { place, value: AssignmentResource::Assignment(assignment) }), None) =
            (resources.pop(), resources.pop())
        else {
            return if length == 0 { Ok(None) } else { Err(format!("Unexpected EDS resource length: {length}")) };
        };
        let wanted = if self.service.is_empty() { &cluster.name.value } else { &self.service };
        if *assignment.cluster_name != **wanted {
            return Err(format!("Unexpected EDS cluster (expecting {wanted}): {}", &*assignment.cluster_name));
        }
        cluster.load_assignment = Some(At { place, value: *assignment });
        endpoints(cluster).map(Some).map_err(|problem| self.told(problem))
    }

    fn told(&self, problem: Problem) -> String {
        problem.error(&self.path, &self.text).to_string().trim_end().to_owned()
    }
}

/// Is a value of another type than its field's? A number that is too large is of the type, and breaks a rule.
fn is_of_another_type(problem: &Problem) -> bool {
    let Cause::WrongType { expected, found } = &*problem.cause else { return false };
    !(expected.starts_with("a number") && found.starts_with("the number"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::rc::Rc;

    use super::*;
    use crate::config::cluster::Discovery;
    use crate::config::{Config, Content, NamedFiles, SecretKind, Surroundings};

    /// The one file that there is.
    struct Endpoints(&'static str);

    impl NamedFiles for Endpoints {
        fn read(&self, _: &str, _: Content) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn secret(&self, _: Option<&str>, _: &str, _: SecretKind) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn endpoints(&self, path: &str) -> io::Result<Vec<u8>> {
            let is_it = path == "/run/endpoints";
            is_it.then(|| self.0.into()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    /// A configuration with one cluster, and the file.
    fn load(cluster: &str, file: &'static str) -> Result<Config, String> {
        let text = format!("static_resources: {{ clusters: [{{ name: up, {cluster} }}] }}");
        let surroundings = Surroundings { files: Some(Rc::new(Endpoints(file))), ..Surroundings::default() };
        let loaded = Config::from_yaml_within(&text, "up.yaml", &surroundings);
        loaded.map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_that_cannot_have_a_file_is_refused() {
        let source = "path_config_source: { path: /run/endpoints }";
        for (cluster, error) in [
            ("type: EDS".to_owned(), "cannot create an EDS cluster without an EDS config"),
            ("type: EDS, eds_cluster_config: {}".into(), "Missing config source specifier"),
            ("type: EDS, eds_cluster_config: { eds_config: {} }".into(), "names no source"),
            ("type: EDS, eds_cluster_config: { eds_config: { ads: {} } }".into(), "there is no xDS"),
            ("type: EDS, eds_cluster_config: { eds_config: { path: /run/none } }".into(), "cannot read"),
            (
                format!("type: STATIC, eds_cluster_config: {{ eds_config: {{ {source} }} }}"),
                "eds_cluster_config set in a non-EDS cluster",
            ),
        ] {
            let said = load(&cluster, "").expect_err(&cluster);
            assert!(said.contains(error), "{cluster}: {said}");
        }
    }

    #[test]
    fn what_a_file_is_worth_is_known_before_it_is_used() {
        const TYPE: &str = "\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
        let one = "resources: [{ \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }] }]";
        let json = r#"{"versionInfo":"7","resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","clusterName":"up"}]}"#;
        assert!(one.contains(TYPE) && json.contains("ClusterLoadAssignment"));
        for (file, found, endpoints) in [
            (one, None, 1),
            (json, None, 0),
            ("resources: []", None, 0),
            ("{}", None, 0),
            ("resources: [", Some("unreadable"), 0),
            ("resources: 1", Some("unreadable"), 0),
            ("resources: [{ \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster }]", Some("unusable"), 0),
            (
                "resources: [{ \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: down }]",
                Some("unusable"),
                0,
            ),
            (
                "resources: [{ \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: up, endpoints: [{ priority: 129, lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }] }]",
                Some("unusable"),
                0,
            ),
        ] {
            let config = load("type: EDS, eds_cluster_config: { eds_config: { path: /run/endpoints } }", file).unwrap();
            let cluster = &config.clusters[0];
            let said = match cluster.assigned.as_ref().map(|assigned| &assigned.found) {
                Some(Found::Assignment | Found::Nothing) => None,
                Some(Found::Unreadable(_)) => Some("unreadable"),
                Some(Found::Unusable(_)) => Some("unusable"),
                None => Some("absent"),
            };
            assert_eq!(said, found, "{file}");
            let Discovery::Static(addresses) = &cluster.discovery else { panic!("{:?}", cluster.discovery) };
            assert_eq!(addresses.len(), endpoints, "{file}");
            assert_eq!(config.watched_files, ["/run/endpoints"]);
        }
    }
}
