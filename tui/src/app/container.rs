//! Which container a cgroup belongs to, by how the engines name their cgroups. A guess from a name, nothing more.

use crate::escape::escaped;

/// Digits of a container's id that are shown: as many as `docker ps` shows.
const ID: usize = 12;

/// What engines put before an id, and what they are called.
const ENGINES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "CRI-O"),
    ("", ""),
];

/// The container of a cgroup's path, in words; `None` where the path is not that of a container.
#[must_use]
pub fn container(cgroup: &[u8]) -> Option<String> {
    let path = String::from_utf8_lossy(cgroup);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut parent = "";
    for (at, part) in parts.iter().enumerate() {
        let name = part.strip_suffix(".scope").or_else(|| part.strip_suffix(".service")).unwrap_or(part);
        for (prefix, engine) in ENGINES {
            let Some(id) = name.strip_prefix(prefix).filter(|id| is_id(id)) else { continue };
            let engine = match (engine, parent) {
                ("", "docker") => "docker",
                ("", "libpod_parent") => "podman",
                ("", _) if path.contains("kubepods") => "kubernetes",
                ("", _) => "container",
                (engine, _) => engine,
            };
            return Some(format!("{engine} {}", id.get(..ID).unwrap_or(id)));
        }
        let named = name
            .strip_prefix("lxc.payload.")
            .map(|name| ("lxc", name))
            .or_else(|| (*part == "lxc").then(|| parts.get(at + 1)).flatten().map(|name| ("lxc", *name)))
            .or_else(|| name.strip_prefix("systemd-nspawn@").map(|name| ("nspawn", name)))
            .or_else(|| {
                name.strip_prefix("machine-").filter(|_| parent == "machine.slice").map(|name| ("machine", name))
            });
        if let Some((engine, name)) = named {
            return Some(format!("{engine} {}", escaped(name.as_bytes())));
        }
        parent = part;
    }
    None
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::container;

    #[test]
    fn containers_are_known_by_the_names_of_their_cgroups() {
        let id = "0123456789abcdef".repeat(4);
        for (path, is) in [
            (format!("/system.slice/docker-{id}.scope"), Some("docker 0123456789ab")),
            (format!("/docker/{id}"), Some("docker 0123456789ab")),
            (format!("/machine.slice/libpod-{id}.scope/container"), Some("podman 0123456789ab")),
            (
                format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{id}.scope"),
                Some("containerd 0123456789ab"),
            ),
            (format!("/kubepods/besteffort/pod1-2/{id}"), Some("kubernetes 0123456789ab")),
            ("/lxc.payload.web/system.slice".into(), Some("lxc web")),
            ("/lxc/web".into(), Some("lxc web")),
            ("/machine.slice/systemd-nspawn@db.service/payload".into(), Some("nspawn db")),
            ("/user.slice/user-1000.slice/session-2.scope".into(), None),
            ("/".into(), None),
        ] {
            assert_eq!(container(path.as_bytes()).as_deref(), is, "{path}");
        }
    }
}
