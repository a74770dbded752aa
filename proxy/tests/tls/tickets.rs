//! Session tickets that are sealed with keys of the configuration.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::{Client, Newest, Proxy, certificate, chain, folder, responds};

const KEY_LEN: usize = 80;

/// One request over TLS, by a client that keeps its tickets in `config`.
fn get(proxy: &Proxy, config: &Arc<ClientConfig>) {
    let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("server.test").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, proxy.connect());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    assert!(response.ends_with(b"hello"));
}

fn proxy(name: &str, keys: &str, secrets: &str) -> Proxy {
    let tls = format!("{keys}, common_tls_context: {{ tls_certificates: [{}] }}", certificate("server"));
    Proxy::start_in(folder(name), &[chain(Some(&tls), &responds("hello"), "")], "", "", secrets)
}

fn in_place(folder: &Path, names: &[&str]) -> String {
    let keys: Vec<_> = names.iter().map(|name| format!("{{ filename: {} }}", folder.join(name).display())).collect();
    format!("session_ticket_keys: {{ keys: [{}] }}", keys.join(", "))
}

#[test]
fn processes_with_the_same_keys_resume_each_others_sessions() {
    let keys = folder("tickets-keys");
    for (name, byte) in [("old", 1), ("new", 2)] {
        fs::write(keys.join(name), [byte; KEY_LEN]).unwrap();
    }
    let secret = format!("secrets: [{{ name: keys, {} }}]", in_place(&keys, &["new", "old"]));
    let proxies = [
        (proxy("tickets-first", &in_place(&keys, &["old"]), ""), 0),
        (proxy("tickets-second", "session_ticket_keys_sds_secret_config: { name: keys }", &secret), 1),
        // The second has sealed its tickets with the new key.
        (proxy("tickets-third", &in_place(&keys, &["old"]), ""), 0),
        (proxy("tickets-fourth", &in_place(&keys, &["old", "new"]), ""), 1),
    ];
    for (newest, times) in [(Newest::Tls13, 1), (Newest::Tls12, 2)] {
        let config = Arc::new(Client { newest, ..Client::default() }.config());
        for (proxy, reused) in &proxies {
            get(proxy, &config);
            proxy.until_stat("ssl.session_reused", times * reused);
        }
    }
    proxies.into_iter().for_each(|(proxy, _)| drop(proxy.stop()));
    fs::remove_dir_all(keys).unwrap();
}

#[test]
fn keys_that_have_changed_in_a_file_of_secrets_are_used_without_a_signal() {
    let folder = folder("tickets-renewed");
    let write = |byte: u8| {
        let text = format!("'{}'", char::from(byte).to_string().repeat(KEY_LEN));
        let secret = format!(
            "resources: [{{ '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: keys, \
             session_ticket_keys: {{ keys: [{{ inline_string: {text} }}] }} }}]"
        );
        fs::write(folder.join("fresh.yaml"), secret).unwrap();
        fs::rename(folder.join("fresh.yaml"), folder.join("keys.yaml")).unwrap();
    };
    write(b'a');
    let named = "session_ticket_keys_sds_secret_config: { name: keys, sds_config: { path_config_source: { path: keys.yaml } } }";
    let tls = format!("{named}, common_tls_context: {{ tls_certificates: [{}] }}", certificate("server"));
    let mut proxy = Proxy::start_in(folder.clone(), &[chain(Some(&tls), &responds("hello"), "")], "", "", "");
    let config = Arc::new(Client::default().config());
    get(&proxy, &config);
    get(&proxy, &config);
    proxy.until_stat("ssl.session_reused", 1);
    write(b'b');
    proxy.finwait.as_mut().unwrap().until("files were read again and are in use: listener web").unwrap();
    get(&proxy, &config);
    proxy.until_stat("ssl.handshake", 3);
    assert_eq!(proxy.stat("ssl.session_reused"), 1, "the key of the ticket is gone");
    get(&proxy, &config);
    proxy.until_stat("ssl.session_reused", 2);
    assert_eq!(proxy.stat("ssl_context_update_by_sds"), 2);
    proxy.stop();
}
