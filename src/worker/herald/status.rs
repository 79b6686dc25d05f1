//! Commit statuses: which runs decide one, and telling it to the forges that boards.yaml names. What is told is what all
//! of its runs came to when it is told, so that one which failed on its way never tells later what is not so any more.

use super::forge::{self, Decided, Status};
use super::{Shared, WITHIN, readable};
use crate::board::hooks::{Forge, Hooks, StatusSink, is_among};
use crate::net::outward::OutwardRequest;
use crate::net::{HttpReply, NetError};
use crate::run::{Run, RunState};
use crate::store::{Call, CallEnd, Happened, RunFilter, StatusOf, StoreError};

/// Whether any forge is told of runs of this family.
pub(super) fn is_told(hooks: &Hooks, family: Option<&str>) -> bool {
    hooks.statuses.values().any(|sink| is_among(&sink.families, family))
}

/// The forges that are told of this. Gerrit would be told of what is to come in so many words, and of nothing to vote on.
pub(super) fn sinks(hooks: &Hooks, family: Option<&str>, kind: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (name, sink) in &hooks.statuses {
        if is_among(&sink.families, family) && (kind == "run.finished" || sink.forge != Forge::Gerrit) {
            names.push(name.clone());
        }
    }
    names
}

impl Shared {
    /// The status that a run has a part in, where the commit of its build is known.
    pub(super) async fn status_of(&self, run: &Run) -> Result<Option<StatusOf>, StoreError> {
        let spec = &run.spec;
        let Some(context) = forge::context(spec) else { return Ok(None) };
        let build = readable(self.lab.store.build_find(&spec.family, &spec.build).await)?;
        let commit = build.and_then(|build| build.source.commit).filter(|commit| forge::is_commit(commit));
        Ok(commit.map(|commit| StatusOf { run: run.number, commit, context }))
    }

    /// The statuses that runs have a part in which were accepted before anybody told of their build: none of them is
    /// green while one of those goes on.
    pub(super) async fn statuses_before(&self, build: &Happened) -> Result<Vec<StatusOf>, StoreError> {
        let (family, id) = (build.facts["family"].as_str(), build.facts["build"].as_str());
        let filter = RunFilter { unfinished: true, limit: u32::MAX, ..RunFilter::default() };
        let mut statuses = vec![];
        for run in self.lab.store.run_list(&filter).await? {
            if family == Some(run.spec.family.as_str()) && id == Some(run.spec.build.as_str()) {
                statuses.extend(self.status_of(&run).await?);
            }
        }
        Ok(statuses)
    }

    /// Tells a forge of a status.
    pub(super) async fn tell(&self, call: &Call, sink: &StatusSink) -> CallEnd {
        let Ok(of) = serde_json::from_str::<StatusOf>(&call.body) else {
            return CallEnd::Dead { error: "it cannot be read".into() };
        };
        let status = match self.status(of).await {
            Ok(Some(status)) => status,
            Ok(None) => return CallEnd::Dead { error: "no run decides this status".into() },
            Err(error) => return self.failed(call, error.to_string(), None),
        };
        if sink.forge == Forge::Gerrit && status.verdict.is_none() {
            // The last of its runs is told when it ends.
            return CallEnd::Made;
        }
        let mut change = None;
        if let Some(question) = forge::question(sink, &status) {
            match self.ask(question, sink.private).await {
                Ok(reply) if reply.status == 200 => match forge::change(&reply.body) {
                    Some(number) => change = Some(number),
                    None => return CallEnd::Dead { error: "it has no change with this commit".into() },
                },
                other => return self.ended(call, other),
            }
        }
        match self.ask(forge::request(sink, &status, change), sink.private).await {
            Ok(reply) if forge::is_known(sink, reply.status, &reply.body) => CallEnd::Made,
            answer => self.ended(call, answer),
        }
    }

    /// The status as it is now, and in a few words what decides it.
    async fn status(&self, of: StatusOf) -> Result<Option<Status>, StoreError> {
        let parts = self.lab.store.status_parts(&of.commit, &of.context).await?;
        let Some(Decided { verdict, run, passed, all }) = forge::decided(&parts) else { return Ok(None) };
        let view = readable(self.lab.store.run_view(run).await)?;
        let cause = match view.map(|view| view.run.state) {
            Some(RunState::Finished { outcome, .. }) if verdict.is_some() => outcome.cause,
            _ => String::new(),
        };
        let word = verdict.map_or("is not over", |verdict| verdict.as_str());
        let colon = if cause.is_empty() { "" } else { ": " };
        let among = if all > 1 { format!(" ({passed} of {all} passed)") } else { String::new() };
        let StatusOf { commit, context, .. } = of;
        Ok(Some(Status {
            commit,
            context,
            verdict,
            says: format!("#{run} {word}{colon}{cause}{among}"),
            url: self.lab.links.closed_page(run),
        }))
    }

    async fn ask(&self, request: forge::Request, private: bool) -> Result<HttpReply, NetError> {
        let forge::Request { method, url, headers, body } = request;
        let headers = &headers;
        self.outward.send(OutwardRequest { method, url: &url, headers, body, private, within: WITHIN }).await
    }
}
