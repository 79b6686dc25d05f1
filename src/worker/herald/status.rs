//! Commit statuses: which runs decide one, and telling it to the forges that boards.yaml names. What is told is what all
//! of its runs came to when it is told, so that one which failed on its way never tells later what is not so any more.

use std::collections::HashSet;

use serde_json::json;

use super::forge::{self, Decided, Status};
use super::{STATUS, Shared, WITHIN, lane_of, readable};
use crate::board::Family;
use crate::board::hooks::{Forge, Hooks, StatusSink, is_among};
use crate::id::MessageId;
use crate::net::outward::OutwardRequest;
use crate::net::{HttpReply, NetError};
use crate::run::{Run, RunState};
use crate::store::{Call, CallEnd, Happened, NewCall, Owing, RunFilter, StatusOf, StoreError};

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
        let Some(context) = forge::context(&run.spec) else { return Ok(None) };
        let commit = self.commit_of(&run.spec.family, &run.spec.build).await?;
        Ok(commit.map(|commit| StatusOf { run: run.number, commit, context }))
    }

    /// Owes what a build that is told of at last makes known: whose status the runs have a part in that were asked for before.
    pub(super) async fn owe_statuses_before(
        &self,
        build: &Happened,
        events: &[Happened],
        hooks: &Hooks,
        owing: &mut Owing,
    ) -> Result<(), StoreError> {
        let mut statuses = self.statuses_before(build).await?;
        // Those that were asked for behind it tell of themselves.
        let behind = events.iter().filter(|event| event.seq > build.seq && event.kind == "accepted");
        let behind: HashSet<i64> = behind.filter_map(|event| event.run).collect();
        statuses.retain(|of| !behind.contains(&of.run));
        let names = sinks(hooks, build.facts["family"].as_str(), "run.finished");
        let mut told = HashSet::new();
        for of in statuses.iter().filter(|of| told.insert(&of.context)) {
            owing.calls.extend(self.status_calls(build, "build.registered", of, &names));
        }
        owing.statuses.extend(statuses);
        Ok(())
    }

    /// The statuses that runs have a part in which were asked for before anybody told of their build: those that go on,
    /// and the newest that have ended.
    async fn statuses_before(&self, build: &Happened) -> Result<Vec<StatusOf>, StoreError> {
        let (Some(family), Some(id)) = (build.facts["family"].as_str(), build.facts["build"].as_str()) else {
            return Ok(vec![]);
        };
        let (store, family) = (&self.lab.store, Family::new(family));
        let Some(commit) = self.commit_of(&family, id).await? else { return Ok(vec![]) };
        let filter = RunFilter { unfinished: true, limit: u32::MAX, ..RunFilter::default() };
        let mut runs = store.run_list(&filter).await?;
        for ended in store.build_ended(id).await? {
            runs.extend(readable(store.run_view(ended.number).await)?.map(|view| view.run));
        }
        let of_it = runs.iter().filter(|run| run.spec.family == family && run.spec.build == id);
        let part = |run: &Run| {
            let context = forge::context(&run.spec)?;
            Some(StatusOf { run: run.number, commit: commit.clone(), context })
        };
        Ok(of_it.filter_map(part).collect())
    }

    /// The commit of a build, where one is known.
    async fn commit_of(&self, family: &Family, build: &str) -> Result<Option<String>, StoreError> {
        let build = readable(self.lab.store.build_find(family, build).await)?;
        Ok(build.and_then(|build| build.source.commit).filter(|commit| forge::is_commit(commit)))
    }

    /// Calls that tell the forges of a status, because of what happened.
    pub(super) fn status_calls(
        &self,
        event: &Happened,
        kind: &'static str,
        of: &StatusOf,
        names: &[String],
    ) -> Vec<NewCall> {
        let body = json!(of).to_string();
        let call = |name: &String| {
            let hook = format!("{STATUS}{name}");
            NewCall {
                id: MessageId::new(&self.lab.ids, self.lab.clock.now()),
                lane: lane_of(Some(&hook), None),
                hook: Some(hook),
                url: None,
                event: event.seq,
                kind,
                run: Some(of.run),
                body: body.clone(),
            }
        };
        names.iter().map(call).collect()
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
