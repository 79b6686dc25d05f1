//! What `boardhand check` says of the data folder: whether it can be written, how much room is left, and whether a server
//! works on it. Writes nothing.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::door::control::SOCKET;

/// Less room than this is a warning: a busy day's consoles, and the database's own room to write.
const ROOM_MIN: u64 = 2_000_000_000;
/// Less than this is a mistake: a server that starts now stops taking work soon.
const ROOM_NEEDED: u64 = 200_000_000;

/// One line, and whether a server can work there; nothing where there is no such folder yet.
pub(super) fn look(folder: &Path) -> Option<(String, bool)> {
    if !folder.is_dir() {
        return None;
    }
    let (name, served) = (folder.display().to_string(), is_served(folder));
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let line =
            format!("{name}: error: it cannot be written ({error}): run this as the user of the server\n");
        return Some((line, false));
    }
    let room = statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Some(line(&name, room, served))
}

fn line(name: &str, room: Option<u64>, served: bool) -> (String, bool) {
    let served = if served { "; a server works on it" } else { "" };
    let Some(room) = room else { return (format!("{name}: ok{served}\n"), true) };
    let free = format!("{:.1} GB free", room as f64 / 1e9);
    let advice = "make room, or keep less (BOARDHAND_KEEP_TRANSCRIPTS_GB, MAX_DISK_USAGE_GB)";
    match room {
        0..ROOM_NEEDED => (format!("{name}: error: {free}{served}: {advice}\n"), false),
        ROOM_NEEDED..ROOM_MIN => (format!("{name}: warning: {free}{served}: {advice}\n"), true),
        _ => (format!("{name}: {free}{served}: ok\n"), true),
    }
}

/// Whether somebody listens at its control socket.
fn is_served(folder: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(folder.join(SOCKET)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_how_much_room_it_has() {
        let said = |room, served| line("./data", room, served);
        assert_eq!(said(Some(12_345_000_000), false), ("./data: 12.3 GB free: ok\n".into(), true));
        let (text, ok) = said(Some(ROOM_MIN - 1), true);
        assert!(
            ok && text.starts_with("./data: warning: 2.0 GB free; a server works on it: make room"),
            "{text}"
        );
        let (text, ok) = said(Some(0), false);
        assert!(!ok && text.starts_with("./data: error: 0.0 GB free: make room"), "{text}");
        assert_eq!(said(None, true), ("./data: ok; a server works on it\n".into(), true));
    }

    #[test]
    fn a_folder_that_is_not_there_is_none_and_a_socket_that_nobody_holds_is_no_server() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(look(&folder.path().join("none")), None);
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let (text, ok) = look(folder.path()).expect("a line");
        assert!(ok && text.contains("a server works on it"), "{text}");
        drop(socket);
        let (text, _) = look(folder.path()).expect("a line");
        assert!(!text.contains("a server works on it"), "{text}");
    }
}
