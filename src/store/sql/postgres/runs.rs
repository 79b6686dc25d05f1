//! Statements about runs, boards, leases and what people asked of them, as PostgreSQL reads them.

use super::super::foresee::going;
use super::super::keep;
use super::super::lease::lease_columns;
use super::super::run::run_columns;
use super::super::{
    attempt, audit, batch, board, builds, campaign, drain, foresee, hold, intake, lab, lease, lease_end,
    outcomes, queue, run, schedule, tally, tidy, writer,
};

const BEGIN_KNOWN: &str = "BEGIN;
    SELECT n.number, d.key, d.answer
    FROM (SELECT GREATEST(COALESCE((SELECT MAX(number) FROM runs), 0),
                          COALESCE((SELECT value::bigint FROM meta WHERE name = 'runs_floor'), 0)) AS number) AS n
    LEFT JOIN deliveries AS d ON d.key IN (SELECT value FROM json_array_elements_text($1::json))";

/// What is outdated of a page of builds.
macro_rules! builds_outdated {
    () => {
        "FROM builds
    WHERE number > $1 AND number <= $2 AND registered_at < $3
      AND EXISTS (SELECT 1
                  FROM builds AS n
                  WHERE n.family = builds.family AND n.branch IS NOT DISTINCT FROM builds.branch
                    AND n.result = 'success' AND n.number > builds.number)
      AND NOT EXISTS (SELECT 1
                      FROM runs
                      CROSS JOIN LATERAL (SELECT document_or_null(spec) AS document) AS read
                      WHERE state <> 'finished' AND document->>'family' = builds.family
                        AND document->>'build' = builds.id)"
    };
}

/// The rows of a group of deliveries.
macro_rules! intakes_insert {
    ($end:literal) => {
        concat!(
            "INSERT INTO runs (number, id, kind, state, attempt, spec, requester, requested_by, origin, created_at,
                     retry_of, retry_once, since, avoid)
    SELECT (value->>'number')::bigint, value->>'id', value->>'kind', 'queued', 1, value->'spec', value->>'requester',
           value->'by', value->'origin', (value->>'at')::bigint, (value->>'retry_of')::bigint, value->>'once',
           (value->>'at')::bigint, value->'avoid'
    FROM json_array_elements($1::json);
    INSERT INTO cards (id, run, platform, channel, thread, via, rev_wanted, owed_at, due_at)
    SELECT value->>'id', (value->>'run')::bigint, value->>'platform', value->>'channel', value->>'thread', value->'via',
           1, (value->>'at')::bigint, (value->>'at')::bigint
    FROM json_array_elements($2::json);
    INSERT INTO events (at, kind, run, attempt, facts)
    SELECT (value->>'at')::bigint, value->>'kind', (value->>'run')::bigint, (value->>'attempt')::bigint,
           COALESCE(value->'facts', '{}')
    FROM json_array_elements($3::json);
    INSERT INTO audit (at, actor, verb, target, allowed, reason, source)
    SELECT (value->>'at')::bigint, value->>'actor', value->>'verb', value->>'target', (value->>'allowed')::bigint,
           value->>'reason', value->>'source'
    FROM json_array_elements($4::json);
    INSERT INTO deliveries (key, platform, received_at, answer)
    SELECT value->>'key', value->>'platform', (value->>'at')::bigint, value->'answer'
    FROM json_array_elements($5::json)",
            $end
        )
    };
}

/// Each statement of which this file has another text, and that text.
pub(super) fn texts() -> Vec<(&'static str, &'static str)> {
    [deliveries(), runs(), leases(), boards(), schedules(), builds(), campaigns(), read()].concat()
}

fn deliveries() -> Vec<(&'static str, &'static str)> {
    vec![
        (writer::BEGIN, "BEGIN"),
        (intake::BEGIN_KNOWN, BEGIN_KNOWN),
        (intake::INTAKES_INSERT, intakes_insert!("")),
        (intake::INTAKES_INSERT_COMMIT.as_str(), intakes_insert!(";\nCOMMIT")),
        (
            intake::ERRANDS_INSERT,
            "INSERT INTO errands (id, board, action, by, via, asked_at, over_fence, once)
    SELECT value->>'id', value->>'board', value->>'action', value->'by', value->'via', (value->>'at')::bigint,
           (value->>'over')::bigint, value->>'once'
    FROM json_array_elements($1::json)",
        ),
        (
            intake::RELOADS_INSERT,
            "INSERT INTO reloads (id, via, asked_at)
    SELECT value->>'id', value->'via', (value->>'at')::bigint
    FROM json_array_elements($1::json)",
        ),
        (intake::DELIVERIES_UNDO, concat!("DELETE FROM deliveries WHERE key IN ", texts!())),
        (
            intake::CARD_HOLD,
            "UPDATE cards
    SET hold_until = GREATEST(hold_until, $4)
    WHERE platform = $1 AND channel = $2 AND message = $3",
        ),
        (
            batch::BATCHES_MARK,
            "UPDATE runs
    SET batch = (j.value->>'batch')::bigint
    FROM json_array_elements($1::json) AS j (value)
    WHERE runs.number = (j.value->>'number')::bigint;
    UPDATE cards
    SET batch = (j.value->>'batch')::bigint, parent = j.value->>'parent'
    FROM json_array_elements($2::json) AS j (value)
    WHERE cards.id = j.value->>'id'",
        ),
    ]
}

fn runs() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            attempt::RUNS_SAVE,
            "UPDATE runs
    SET state = j.value->>'state',
        attempt = (j.value->>'attempt')::bigint,
        since = COALESCE((j.value->>'since')::bigint, since),
        avoid = COALESCE((j.value->'avoid')::text, avoid),
        lease = j.value->'lease'->>'id',
        board = j.value->'lease'->>'board',
        fence = (j.value->'lease'->>'fence')::bigint,
        started_at = (j.value->>'started_at')::bigint,
        request = j.value->'request',
        verdict = j.value->'outcome'->>'verdict',
        cause = j.value->'outcome'->>'cause',
        outcome = j.value->'outcome',
        finished_at = (j.value->>'finished_at')::bigint,
        progress = CASE WHEN runs.attempt = (j.value->>'attempt')::bigint THEN progress END,
        revision = revision + 1
    FROM json_array_elements($1::json) AS j (value)
    WHERE runs.number = (j.value->>'number')::bigint
      AND runs.state = j.value->>'was'
      AND runs.attempt = (j.value->>'was_attempt')::bigint
      AND runs.lease IS NOT DISTINCT FROM j.value->>'was_lease'",
        ),
        (lease::RUNS_BY_ID, concat!("SELECT ", run_columns!(), " FROM runs AS r WHERE r.id IN ", texts!())),
        (
            outcomes::OUTCOMES_THIN,
            "UPDATE outcomes
    SET cases = NULL
    WHERE run IN (SELECT run
                  FROM outcomes
                  WHERE family = $1 AND suite = $2 AND cases IS NOT NULL
                  ORDER BY finished_at DESC, run DESC
                  OFFSET 20)",
        ),
        (
            queue::RUNS_ALL,
            concat!(
                "SELECT ",
                run_columns!(),
                " FROM runs AS r WHERE r.state <> 'finished' ORDER BY r.number"
            ),
        ),
        (
            run::WAITING_OF,
            "SELECT (SELECT COUNT(*)
            FROM runs
            WHERE state = 'queued' AND state <> 'finished' AND kind = 'test' AND requester = $1)
         + (SELECT COUNT(*) FROM reservations WHERE requester = $1)",
        ),
        (
            keep::KEEPS,
            "SELECT number, keep
    FROM runs
    WHERE state <> 'finished' AND keep IS NOT NULL
    ORDER BY number",
        ),
        (
            run::RUNS_UNFINISHED,
            concat!(
                "SELECT ",
                run_columns!(),
                "
    FROM runs AS r
    WHERE r.state <> 'finished' AND r.kind = 'test' AND ($1::text IS NULL OR r.requester = $1::text)
    ORDER BY r.state = 'queued', r.number
    LIMIT $2"
            ),
        ),
        (
            run::STEPS,
            "SELECT seq, at, kind, attempt, board, document_or_null(facts)->>'stage' AS stage
    FROM events
    WHERE run = $1 AND seq > $2 AND kind <> 'registered'
    ORDER BY seq
    LIMIT $3",
        ),
        (
            run::RUNS_ENDED,
            concat!(
                "SELECT number, finished_at FROM runs WHERE number IN ",
                numbers!(),
                " AND state = 'finished'"
            ),
        ),
        (
            run::BOARDS_LAST,
            concat!(
                "SELECT a.run || '/' || a.number AS key, a.run, a.board FROM attempts AS a WHERE a.run IN ",
                numbers!(),
                " AND a.number = (SELECT MAX(later.number) FROM attempts AS later WHERE later.run = a.run)"
            ),
        ),
    ]
}

fn leases() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            lease::BOARDS_WITH_LEASES,
            concat!(
                "SELECT b.id, b.fence, b.needs_fence, b.health, b.reason, ",
                lease_columns!(),
                "
    FROM boards AS b
    LEFT JOIN leases AS l ON l.board = b.id AND l.state IN ('active', 'finalizing', 'held')
    WHERE b.id IN ",
                texts!()
            ),
        ),
        (
            lease::FENCES_RAISE,
            "UPDATE boards
    SET fence = (j.value->>'fence')::bigint
    FROM json_array_elements($1::json) AS j (value)
    WHERE boards.id = j.value->>'board' AND boards.fence = (j.value->>'fence')::bigint - 1",
        ),
        (
            lease::LEASES_INSERT,
            "INSERT INTO leases (id, board, fence, holder, run, attempt, instance, granted_at, expires_at, state,
                    needs_fence, reason, held_by, held_from)
    SELECT value->>'id', value->>'board', (value->>'fence')::bigint, value->'holder',
           (value->'holder'->'run'->>'number')::bigint, (value->'holder'->'run'->>'attempt')::bigint,
           value->>'instance', (value->>'granted_at')::bigint, (value->>'expires_at')::bigint, value->>'state',
           (value->>'needs_fence')::bigint, value->>'reason', value->>'held_by', (value->>'held_from')::bigint
    FROM json_array_elements($1::json)",
        ),
        (
            lease::ATTEMPTS_INSERT,
            "INSERT INTO attempts (run, number, board, others, fence, lease, started_at)
    SELECT (value->>'run')::bigint, (value->>'number')::bigint, value->>'board', value->'others',
           (value->>'fence')::bigint, value->>'lease', (value->>'started_at')::bigint
    FROM json_array_elements($1::json)",
        ),
        (
            lease_end::LEASES_RENEW,
            "UPDATE leases
    SET expires_at = GREATEST(expires_at, $2)
    WHERE instance = $1 AND state IN ('active', 'finalizing')
    RETURNING id",
        ),
        (
            lease_end::LEASES_RETURN,
            concat!(
                "UPDATE leases SET state = 'released', ended_at = $2 WHERE id IN ",
                texts!(),
                " AND state = 'active'"
            ),
        ),
        (
            lease_end::LEASES_LAPSE,
            concat!(
                "UPDATE leases SET state = 'lapsed', ended_at = $2 WHERE id IN ",
                texts!(),
                " AND state IN ('active', 'finalizing', 'held')"
            ),
        ),
        (
            lease_end::HOLDS_UNFENCED,
            concat!("UPDATE leases SET needs_fence = 1 WHERE id IN ", texts!(), " AND state = 'held'"),
        ),
        (
            hold::BOARDS_OF,
            "SELECT (SELECT COUNT(*) FROM reservations WHERE requester = $1)
         + (SELECT COUNT(*)
            FROM leases
            CROSS JOIN LATERAL (SELECT document_or_null(holder)->'person' AS person) AS held
            WHERE state = 'held' AND (person->>'platform') || ':' || (person->>'id') = $1)",
        ),
        (
            hold::WAITING_LIKE,
            "SELECT id, place, by, family, board, lasts, reason, asked_at
    FROM reservations
    WHERE requester = $1 AND family = $2 AND board IS NOT DISTINCT FROM $3::text
    ORDER BY asked_at, id",
        ),
    ]
}

fn boards() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            board::BOARDS_REGISTER,
            "INSERT INTO boards (id)
    SELECT value FROM json_array_elements_text($1::json)
    ON CONFLICT DO NOTHING
    RETURNING id",
        ),
        (
            lease_end::BOARD_RELEASED,
            "UPDATE boards
    SET last_used_at = $2,
        needs_fence = CASE WHEN $3::text IS NULL THEN needs_fence ELSE 1 END,
        reason = CASE WHEN $3::text IS NULL OR health = 'quarantined' THEN reason ELSE $3::text END,
        health = CASE WHEN $3::text IS NULL OR health = 'quarantined' THEN health ELSE 'suspect' END
    WHERE id = $1",
        ),
        (
            lease_end::BOARDS_LAPSED,
            concat!("UPDATE boards SET needs_fence = 1, last_used_at = $2 WHERE id IN ", texts!()),
        ),
        (
            drain::DRAIN_INSERT,
            "INSERT INTO drains (kind, name, reason, by, at, ends_at, told_at)
    SELECT $1, $2, $3, $4, $5::bigint, $6::bigint,
           CASE WHEN NOT EXISTS (SELECT 1
                                 FROM leases AS l
                                 WHERE l.state IN ('active', 'finalizing', 'held')
                                   AND l.board IN (SELECT value FROM json_array_elements_text($7::json)))
                THEN $5::bigint END",
        ),
        (
            drain::BOARDS_OPEN,
            concat!(
                "UPDATE boards SET needs_fence = 1, check_wanted = 1 WHERE id IN ",
                texts!(),
                " AND health <> 'quarantined'"
            ),
        ),
        (lab::RELOADS_DONE, concat!("DELETE FROM reloads WHERE id IN ", texts!(), " RETURNING id, via")),
    ]
}

fn schedules() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            schedule::SCHEDULES_LEFT,
            "DELETE FROM schedules
    WHERE own IS NULL AND name NOT IN (SELECT value->>'name' FROM json_array_elements($1::json))
       OR own IS NOT NULL
          AND EXISTS (SELECT 1 FROM json_array_elements($1::json)
                      WHERE lower(value->>'name') = lower(schedules.name) AND value->>'name' <> schedules.name)",
        ),
        (
            schedule::SCHEDULES_CAME,
            "INSERT INTO schedules (name, timing, since)
    SELECT value->>'name', value->>'timing', $2 FROM json_array_elements($1::json)
    ON CONFLICT (name) DO UPDATE SET timing = excluded.timing, since = excluded.since, due = NULL, dealt = NULL,
        own = NULL, own_by = NULL,
        paused_at = CASE WHEN schedules.own IS NULL THEN schedules.paused_at END,
        paused_by = CASE WHEN schedules.own IS NULL THEN schedules.paused_by END
    WHERE schedules.timing <> excluded.timing OR schedules.own IS NOT NULL",
        ),
    ]
}

fn builds() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            builds::BUILD_INSERT,
            "INSERT INTO builds (family, id, branch, revision, job, url, result, artifacts, by, registered_at)
    SELECT value->>'family', value->>'id', value->>'branch', value->>'commit', value->>'job', value->>'url',
           value->>'result', $2, $3, $4
    FROM (SELECT $1::json AS value) AS build",
        ),
        (
            tidy::BUILDS_REMOVE,
            concat!("DELETE ", builds_outdated!()),
        ),
        (
            foresee::BUILDS_GOING,
            concat!(going!("registered_at", "artifacts"), builds_outdated!()),
        ),
    ]
}

fn campaigns() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            campaign::CAMPAIGNS_IN_THE_WAY,
            "SELECT COUNT(*) AS live,
           MAX(CASE WHEN document->>'name' = $2 AND ($4 <> 0 OR document->>'build' = $3) THEN number END) AS other
    FROM campaigns
    CROSS JOIN LATERAL (SELECT document_or_null(plan) AS document) AS read
    WHERE ended_at IS NULL AND number <> $1",
        ),
        (
            campaign::CAMPAIGN_PLANS,
            concat!("SELECT number, plan FROM campaigns WHERE number IN ", numbers!()),
        ),
        (
            campaign::CAMPAIGN_RUNS_INSERT,
            "INSERT INTO campaign_runs (campaign, phase, place, run)
    SELECT (value->>'campaign')::bigint, value->>'phase', (value->>'place')::bigint, (value->>'run')::bigint
    FROM json_array_elements($1::json)",
        ),
    ]
}

fn read() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            audit::DECISIONS,
            "SELECT position, at, actor, verb, target, allowed, reason, source
    FROM (SELECT position, at, actor, verb, target, allowed, reason, source
          FROM audit
          WHERE position < $1
          ORDER BY position DESC
          LIMIT $2) AS looked_at
    WHERE ($3::text IS NULL OR actor IN (SELECT value FROM json_array_elements_text($3::json)))
      AND ($4::text IS NULL OR target = $4::text OR substr(target, 1, length($4::text) + 1) = $4::text || ' ')
      AND at >= $5 AND allowed <= $6
    ORDER BY position DESC
    LIMIT $7",
        ),
        (
            tally::RUNS,
            "SELECT state, COUNT(*) AS count FROM runs WHERE state <> 'finished' GROUP BY state",
        ),
        (
            tally::QUEUE,
            "SELECT COALESCE(document_or_null(spec)->>'family', '') AS name, COUNT(*) AS count, MIN(since) AS oldest
    FROM runs
    WHERE state = 'queued' AND state <> 'finished'
    GROUP BY name",
        ),
    ]
}
