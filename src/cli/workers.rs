//! What `boardhand check` says of the workers that boards.yaml asks for: asked of the server that runs on the data folder, since
//! nobody else knows who is heard. Changes nothing.

use std::fmt::Write as _;
use std::path::Path;

use super::reload::Server;
use crate::board::{Inventory, Site};
use crate::door::control::{Answer, Ask, WorkerSaid};

/// Lines, and whether every site has somebody who drives its boards; nothing where no site is for workers.
pub(super) async fn look(inventory: &Inventory, data_dir: &Path) -> Option<(String, bool)> {
    let has_boards = |site: &Site| inventory.boards.values().any(|board| board.site == *site);
    let remote = inventory.sites.iter().filter(|(site, settings)| settings.remote && has_boards(site));
    let sites: Vec<&Site> = remote.map(|(site, _)| site).collect();
    if sites.is_empty() {
        return None;
    }
    let unknown =
        |why: String| Some((format!("workers: {why}: whether they are heard is not known\n"), true));
    let mut server = match Server::of(data_dir).await {
        Ok(Some(server)) => server,
        Ok(None) => return unknown(format!("no server runs on {}", data_dir.display())),
        Err(error) => return unknown(error.to_string()),
    };
    match server.ask(&Ask::Workers).await {
        Ok(Answer::Workers { workers, version }) => Some(said(&sites, &workers, &version)),
        // One of another version, which does not know the question.
        Ok(_) => unknown("the server answers something else".to_owned()),
        Err(error) => unknown(error.to_string()),
    }
}

fn said(sites: &[&Site], workers: &[WorkerSaid], version: &str) -> (String, bool) {
    let (mut lines, mut ok) = (String::new(), true);
    for site in sites {
        let of: Vec<&WorkerSaid> = workers.iter().filter(|worker| worker.site == site.as_str()).collect();
        let served = of.iter().find(|worker| worker.state == "alive");
        // Writing to a String cannot fail.
        let _ = match served {
            Some(worker) => writeln!(lines, "workers: {site}: {} drives its boards: ok", worker.id),
            None => {
                ok = false;
                writeln!(
                    lines,
                    "workers: {site}: error: nobody drives its boards, and their runs wait: boardhand worker --site '{site}' there"
                )
            }
        };
        for worker in of {
            let WorkerSaid { id, state, seen_at, .. } = worker;
            let trouble = match state.as_str() {
                "silent" | "lost" => Some(format!(
                    "{id} is {state}, heard last {}: see its log, and whether it reaches this server",
                    seen_at.rfc3339()
                )),
                "draining" => Some(format!("{id} takes nothing new: /lab undrain worker:{id} ends that")),
                "alive" | "leaving" if worker.version != version => {
                    Some(format!("{id} is of version {}, and the server of {version}", worker.version))
                }
                _ => None,
            };
            if let Some(trouble) = trouble {
                let _ = writeln!(lines, "workers: {site}: warning: {trouble}");
            }
        }
    }
    for worker in workers.iter().filter(|worker| !sites.iter().any(|site| site.as_str() == worker.site)) {
        if matches!(worker.state.as_str(), "alive" | "draining") {
            let _ = writeln!(
                lines,
                "workers: warning: {} is there for {}, which has no boards for workers in boards.yaml",
                worker.id, worker.site
            );
        }
    }
    (lines, ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn worker(id: &str, site: &str, state: &str, version: &str) -> WorkerSaid {
        let text = str::to_owned;
        let seen_at = Timestamp::from_micros(1_800_000_000_000_000);
        WorkerSaid { id: text(id), site: text(site), state: text(state), version: text(version), seen_at }
    }

    #[test]
    fn what_is_wrong_with_workers_is_said_site_by_site() {
        let (a, b) = (Site::new("Lab A"), Site::new("Lab B"));
        let workers = [
            worker("rack-1", "Lab A", "alive", "2.0.0"),
            worker("rack-2", "Lab A", "lost", "1.0.0"),
            worker("rack-3", "Lab A", "leaving", "1.0.0"),
            worker("rack-4", "Lab B", "draining", "2.0.0"),
            worker("rack-5", "Lab B", "stopped", "1.0.0"),
            worker("rack-6", "Lab C", "alive", "2.0.0"),
        ];
        let (text, ok) = said(&[&a, &b], &workers, "2.0.0");
        assert_eq!(
            text,
            "workers: Lab A: rack-1 drives its boards: ok\n\
             workers: Lab A: warning: rack-2 is lost, heard last 2027-01-15T08:00:00.000Z: see its log, and whether it reaches this server\n\
             workers: Lab A: warning: rack-3 is of version 1.0.0, and the server of 2.0.0\n\
             workers: Lab B: error: nobody drives its boards, and their runs wait: boardhand worker --site 'Lab B' there\n\
             workers: Lab B: warning: rack-4 takes nothing new: /lab undrain worker:rack-4 ends that\n\
             workers: warning: rack-6 is there for Lab C, which has no boards for workers in boards.yaml\n"
        );
        assert!(!ok);
        assert!(said(&[&a], &workers, "2.0.0").1, "a warning is no mistake");
    }
}
