//! Statements about cards, replies, answers and letters, as PostgreSQL reads them.

use super::super::{calls, digest, history, ledger, letters, links, message, watches};

/// A reply that may go: the first that is owed in its thread.
macro_rules! head_replies {
    () => {
        "FROM outbox AS o
     JOIN cards AS c ON c.id = o.card
     WHERE o.state = 'owed' AND o.kind = 'reply' AND (c.message IS NOT NULL OR c.state = 'dead')
       AND o.seq = (SELECT MIN(seq) FROM outbox WHERE card = o.card AND state = 'owed' AND kind = 'reply')"
    };
}

/// Each statement of which this file has another text, and that text.
pub(super) fn texts() -> Vec<(&'static str, &'static str)> {
    [changes(), due(), ends(), dead(), called(), watches(), linked(), past()].concat()
}

fn changes() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            ledger::EVENTS_INSERT,
            "INSERT INTO events (at, kind, run, attempt, board, facts)
    SELECT (value->>'at')::bigint, value->>'kind', (value->>'run')::bigint, (value->>'attempt')::bigint,
           value->>'board', COALESCE(value->'facts', '{}')
    FROM json_array_elements($1::json)",
        ),
        (
            ledger::CARDS_BUMP,
            "UPDATE cards
    SET rev_wanted = CASE WHEN batch IS NULL THEN (SELECT revision FROM runs WHERE number = cards.run)
                          ELSE (SELECT SUM(revision) FROM runs WHERE batch = cards.batch)::bigint END,
        owed_at = CASE WHEN rev_wanted > rev_sent THEN owed_at ELSE $2 END,
        last = CASE WHEN batch IS NULL THEN (SELECT (state = 'finished')::int FROM runs WHERE number = cards.run)
                    ELSE (SELECT MIN((state = 'finished')::int) FROM runs WHERE batch = cards.batch) END
    WHERE campaign IS NULL
      AND run IN (SELECT value::bigint FROM json_array_elements_text($1::json)
                  UNION
                  SELECT batch
                  FROM runs
                  WHERE number IN (SELECT value::bigint FROM json_array_elements_text($1::json)) AND batch IS NOT NULL)",
        ),
        (
            ledger::RUNS_BUMP,
            concat!("UPDATE runs SET revision = revision + 1 WHERE number IN ", numbers!()),
        ),
        (
            ledger::CARDS_OF_RUNS,
            concat!(
                "SELECT id, run, replies, state = 'dead' AND message IS NULL AS lost,
       last = 1 AND message IS NULL AND rev_sent >= rev_wanted AS untold FROM cards WHERE run IN ",
                numbers!(),
                " AND batch IS NULL AND campaign IS NULL ORDER BY rowid"
            ),
        ),
        (
            ledger::OUTBOX_INSERT,
            "INSERT INTO outbox (id, kind, card, seq, via, note, last, owed_at, due_at, state, error)
    SELECT value->>'id', value->>'kind', value->>'card', (value->>'seq')::bigint, value->'via', value->'note',
           (value->>'last')::bigint, (value->>'at')::bigint, (value->>'at')::bigint, value->>'state', value->>'error'
    FROM json_array_elements($1::json)",
        ),
        (
            ledger::CARDS_COUNT_REPLIES,
            "UPDATE cards
    SET replies = (j.value->>'replies')::bigint
    FROM json_array_elements($1::json) AS j (value)
    WHERE cards.id = j.value->>'id'",
        ),
    ]
}

fn due() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            message::CARDS_DUE,
            "WITH RECURSIVE channels (channel) AS (
        (SELECT MIN(channel) FROM cards WHERE rev_wanted > rev_sent AND state = 'live')
        UNION ALL
        SELECT (SELECT MIN(n.channel)
                FROM cards AS n
                WHERE n.rev_wanted > n.rev_sent AND n.state = 'live' AND n.channel > channels.channel)
        FROM channels
        WHERE channels.channel IS NOT NULL)
    SELECT c.id, c.run, c.batch, c.campaign, c.platform, c.channel, c.thread, c.message, c.rev_wanted, c.via, c.last, c.begun_at,
           c.tries, c.owed_at
    FROM channels
    CROSS JOIN (VALUES (false), (true)) AS posts (are)
    CROSS JOIN LATERAL (SELECT n.*
                        FROM cards AS n
                        WHERE n.rev_wanted > n.rev_sent AND n.state = 'live'
                          AND n.channel = channels.channel AND (n.message IS NULL) = posts.are
                          AND n.due_at <= $1 AND n.hold_until <= $1
                          AND (n.parent IS NULL OR n.thread IS NOT NULL)
                        ORDER BY n.last DESC, n.owed_at, n.rowid
                        LIMIT $3) AS c
    ORDER BY ROW_NUMBER() OVER (PARTITION BY c.channel, c.message IS NULL ORDER BY c.last DESC, c.owed_at, c.rowid),
             c.last DESC, c.owed_at, c.rowid
    LIMIT $2",
        ),
        (
            message::CARD_LINKS,
            concat!(
                "SELECT run, channel, link
    FROM cards
    WHERE run IN ",
                numbers!(),
                " AND platform = $2 AND link IS NOT NULL AND batch IS NULL AND campaign IS NULL
    ORDER BY rowid"
            ),
        ),
        (
            message::REPLIES_DUE,
            concat!(
                "SELECT o.id, c.run, c.platform, c.channel, c.thread, c.message, o.note, o.seq, o.last, o.begun_at,
           o.tries, o.owed_at ",
                head_replies!(),
                " AND o.due_at <= $1
    ORDER BY o.position
    LIMIT $2"
            ),
        ),
        (
            message::NEXT_DUE,
            concat!(
                "SELECT MIN(at)
    FROM (SELECT MIN(due_at) AS at
          FROM outbox
          WHERE state = 'owed' AND kind = 'answer' AND due_at > $1
          UNION ALL
          SELECT MIN(GREATEST(due_at, hold_until))
          FROM cards
          WHERE rev_wanted > rev_sent AND state = 'live' AND GREATEST(due_at, hold_until) > owed_at
            AND GREATEST(due_at, hold_until) > $1
            AND (parent IS NULL OR thread IS NOT NULL)
          UNION ALL
          SELECT MIN(o.due_at) ",
                head_replies!(),
                " AND o.due_at > $1) AS next"
            ),
        ),
    ]
}

fn ends() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            message::OUTBOX_BEGIN,
            concat!(
                "UPDATE outbox SET begun_at = COALESCE(begun_at, $2) WHERE id IN ",
                texts!(),
                " AND state = 'owed'"
            ),
        ),
        (
            message::CARDS_BEGIN,
            concat!(
                "UPDATE cards SET begun_at = COALESCE(begun_at, $2) WHERE id IN ",
                texts!(),
                " AND state = 'live' AND message IS NULL"
            ),
        ),
        (
            message::OUTBOX_END,
            "UPDATE outbox
    SET state = CASE j.value->>'end' WHEN 'sent' THEN 'sent' WHEN 'dead' THEN 'dead' ELSE state END,
        message = COALESCE(j.value->>'message', message),
        error = COALESCE(j.value->>'error', error),
        due_at = COALESCE((j.value->>'at')::bigint, due_at),
        tries = tries + (j.value->>'failed')::bigint,
        begun_at = CASE j.value->>'end' WHEN 'later' THEN NULL WHEN 'unsure' THEN COALESCE(begun_at, $2)
                                        ELSE begun_at END
    FROM json_array_elements($1::json) AS j (value)
    WHERE outbox.id = j.value->>'id' AND outbox.state = 'owed'",
        ),
        (
            message::CARDS_END,
            "UPDATE cards
    SET state = CASE j.value->>'end' WHEN 'dead' THEN 'dead' ELSE state END,
        message = CASE WHEN message IS NULL OR j.value->>'message' <> '' THEN COALESCE(j.value->>'message', message)
                       ELSE message END,
        rev_sent = GREATEST(rev_sent, COALESCE((j.value->>'revision')::bigint, 0)),
        owed_at = CASE j.value->>'end' WHEN 'sent' THEN $2 ELSE owed_at END,
        error = COALESCE(j.value->>'error', error),
        due_at = COALESCE((j.value->>'at')::bigint, due_at),
        tries = CASE j.value->>'end' WHEN 'sent' THEN 0 ELSE tries + (j.value->>'failed')::bigint END,
        begun_at = CASE WHEN j.value->>'end' = 'unsure' AND message IS NULL THEN COALESCE(begun_at, $2) END
    FROM json_array_elements($1::json) AS j (value)
    WHERE cards.id = j.value->>'id' AND cards.state = 'live'",
        ),
        (
            message::CHILDREN_THREAD,
            "UPDATE cards
    SET thread = COALESCE(p.thread, p.message)
    FROM json_array_elements($1::json) AS j (value)
    JOIN cards AS p ON p.id = j.value->>'id' AND p.batch IS NOT NULL AND p.message IS NOT NULL
    WHERE cards.parent = p.id AND cards.thread IS NULL",
        ),
        (
            message::CHILDREN_BURY,
            concat!(
                "UPDATE cards SET state = 'dead', error = $2
    WHERE state = 'live'
      AND parent IN (SELECT id FROM cards WHERE id IN ",
                texts!(),
                " AND state = 'dead' AND message IS NULL)"
            ),
        ),
        (
            message::REPLIES_BURY,
            concat!(
                "UPDATE outbox SET state = 'dead', error = $2
    WHERE state = 'owed' AND kind = 'reply' AND last = 0
      AND card IN (SELECT id FROM cards WHERE id IN ",
                texts!(),
                " AND state = 'dead' AND message IS NULL
                   UNION ALL
                   SELECT id FROM cards WHERE parent IN ",
                texts!(),
                " AND state = 'dead' AND message IS NULL)"
            ),
        ),
    ]
}

fn dead() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            letters::LETTERS_WRITE,
            "INSERT INTO letters (message, died_at)
    SELECT j.value, $2
    FROM json_array_elements_text($1::json) AS j (value)
    WHERE NOT EXISTS (SELECT 1 FROM letters WHERE message = j.value)
      AND (EXISTS (SELECT 1 FROM outbox WHERE id = j.value AND state = 'dead')
           OR EXISTS (SELECT 1 FROM cards WHERE id = j.value AND state = 'dead')
           OR EXISTS (SELECT 1 FROM calls WHERE id = j.value AND state = 'dead'))",
        ),
        (
            letters::LETTERS_NAMED,
            "SELECT message FROM letters AS d
    WHERE ($1::bigint IS NULL OR number = $1::bigint)
      AND (EXISTS (SELECT 1 FROM outbox WHERE id = d.message AND state = 'dead')
           OR EXISTS (SELECT 1 FROM cards WHERE id = d.message AND state = 'dead')
           OR EXISTS (SELECT 1 FROM calls WHERE id = d.message AND state = 'dead'))
    ORDER BY number
    LIMIT $2",
        ),
        (letters::LETTERS_REMOVE, concat!("DELETE FROM letters WHERE message IN ", texts!())),
        (
            letters::OUTBOX_REVIVE,
            concat!(
                "UPDATE outbox
    SET state = 'owed', due_at = $2, tries = 0, begun_at = NULL, error = NULL,
        owed_at = CASE kind WHEN 'answer' THEN $2 ELSE owed_at END,
        via = CASE WHEN document_or_null(via)->>'user' <> ''
                   THEN (document_or_null(via)::jsonb - 'url')::text ELSE via END
    WHERE id IN ",
                texts!(),
                " AND state = 'dead'"
            ),
        ),
        (
            letters::CARDS_REVIVE,
            concat!(
                "UPDATE cards
    SET state = 'live', owed_at = $2, due_at = $2, tries = 0, begun_at = NULL, error = NULL, via = NULL,
        message = NULLIF(message, $3), thread = NULLIF(thread, $3), rev_wanted = GREATEST(rev_wanted, rev_sent + 1)
    WHERE state = 'dead' AND (id IN ",
                texts!(),
                " OR parent IN ",
                texts!(),
                ")"
            ),
        ),
        (
            letters::CALLS_REVIVE,
            concat!(
                "UPDATE calls SET state = 'owed', due_at = $2, tries = 0, error = NULL WHERE id IN ",
                texts!(),
                " AND state = 'dead'"
            ),
        ),
        (
            letters::REPLIES_REVIVE,
            concat!(
                "UPDATE outbox
    SET state = 'owed', due_at = $2, tries = 0, begun_at = NULL, error = NULL
    WHERE state = 'dead' AND kind = 'reply' AND error = $3
      AND card IN (SELECT id FROM cards WHERE id IN ",
                texts!(),
                " OR parent IN ",
                texts!(),
                ")"
            ),
        ),
    ]
}

fn called() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            calls::CALLS_INSERT,
            "INSERT INTO calls (id, hook, lane, event, kind, run, url, body, owed_at, due_at, state, error)
    SELECT value->>'id', value->>'hook', value->>'lane', (value->>'event')::bigint, value->>'kind',
           (value->>'run')::bigint, value->>'url', value->>'body', $2, $2,
           CASE WHEN crowded.lane IS NULL THEN 'owed' ELSE 'dead' END,
           CASE WHEN crowded.lane IS NOT NULL THEN $4 END
    FROM json_array_elements($1::json) AS told (value)
    LEFT JOIN (SELECT lane
               FROM calls
               WHERE state = 'owed'
                 AND lane IN (SELECT j.value->>'lane' FROM json_array_elements($1::json) AS j (value))
               GROUP BY lane
               HAVING COUNT(*) >= $3) AS crowded ON crowded.lane = told.value->>'lane'",
        ),
        (
            calls::CALLBACKS_INSERT,
            "INSERT INTO callbacks (run, url)
    SELECT (value->>'run')::bigint, value->>'url'
    FROM json_array_elements($1::json)",
        ),
        (
            calls::STATUSES_INSERT,
            "INSERT INTO statuses (run, revision, context)
    SELECT (value->>'run')::bigint, value->>'commit', value->>'context'
    FROM json_array_elements($1::json)
    ON CONFLICT (run) DO NOTHING",
        ),
        (
            calls::CALLBACKS_REMOVE,
            "DELETE FROM callbacks
    WHERE (run, url) IN (SELECT (value->>'run')::bigint, value->>'url' FROM json_array_elements($1::json))",
        ),
        (
            calls::CALLS_DUE,
            "WITH RECURSIVE lanes (lane) AS (
        (SELECT MIN(lane) FROM calls WHERE state = 'owed')
        UNION ALL
        SELECT (SELECT MIN(n.lane) FROM calls AS n WHERE n.state = 'owed' AND n.lane > lanes.lane)
        FROM lanes
        WHERE lanes.lane IS NOT NULL)
    SELECT k.id, k.hook, k.lane, k.kind, k.url, k.body, k.tries
    FROM lanes
    CROSS JOIN LATERAL (SELECT n.*
                        FROM calls AS n
                        WHERE n.state = 'owed' AND n.lane = lanes.lane AND n.due_at <= $1
                        ORDER BY n.due_at, n.event
                        LIMIT $3) AS k
    WHERE lanes.lane NOT IN (SELECT value FROM json_array_elements_text($4::json))
    ORDER BY k.due_at, k.event, k.id
    LIMIT $2",
        ),
    ]
}

fn watches() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            message::REPLIES_UNTOLD,
            concat!(
                "UPDATE outbox SET state = 'sent' WHERE state = 'owed' AND kind = 'reply' AND card IN ",
                texts!()
            ),
        ),
        (
            watches::WATCHES_OF,
            concat!(
                "SELECT MIN(position) AS position, run, family
    FROM watches
    WHERE requester IN ",
                texts!(),
                "
    GROUP BY run, family
    ORDER BY MIN(position)"
            ),
        ),
        (
            watches::WATCH_INSERT,
            "INSERT INTO watches (requester, by, run, family, asked_at)
    SELECT $1::text, $2::text, $3::bigint, $4::text, $5::bigint
    WHERE (SELECT COUNT(*) FROM watches WHERE requester = $1::text) < $6::bigint
    ON CONFLICT DO NOTHING",
        ),
        (
            watches::WATCH_IS_THERE,
            concat!(
                "SELECT COUNT(*) FROM watches
    WHERE requester IN ",
                texts!(),
                " AND COALESCE(run, 0) = COALESCE($2::bigint, 0)
      AND COALESCE(family, '') = COALESCE($3::text, '')"
            ),
        ),
        (
            watches::WATCH_REMOVE,
            concat!(
                "DELETE FROM watches
    WHERE requester IN ",
                texts!(),
                " AND COALESCE(run, 0) = COALESCE($2::bigint, 0)
      AND COALESCE(family, '') = COALESCE($3::text, '')"
            ),
        ),
        (
            watches::WATCHERS,
            concat!(
                "SELECT r.number, w.position, w.by, 0 AS of_family
    FROM runs AS r
    JOIN watches AS w ON w.run = r.number
    WHERE r.number IN ",
                numbers!(),
                "
    UNION ALL
    SELECT r.number, w.position, w.by, 1
    FROM runs AS r
    JOIN watches AS w ON w.family = document_or_null(r.spec)->>'family'
    WHERE r.kind = 'test' AND r.number IN ",
                numbers!()
            ),
        ),
        (watches::WATCHES_TOLD, concat!("DELETE FROM watches WHERE run IN ", numbers!())),
    ]
}

fn linked() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            links::LINKS_OF,
            concat!(
                "SELECT platform, id, person
    FROM links
    WHERE person IN (SELECT person FROM links WHERE platform || ':' || id IN ",
                texts!(),
                ")
    ORDER BY person, CASE WHEN person = platform || ':' || id THEN 0 ELSE 1 END, platform, id"
            ),
        ),
        (
            links::LINK_UNDO,
            concat!(
                "DELETE FROM links
    WHERE person IN (SELECT person FROM links WHERE platform || ':' || id IN ",
                texts!(),
                ")"
            ),
        ),
    ]
}

fn past() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            digest::PAST_USED,
            "SELECT board, SUM(micros)::bigint AS micros
    FROM (SELECT board, LEAST(ended_at, $2::bigint) - GREATEST(granted_at, $1::bigint) AS micros
          FROM leases
          WHERE ended_at > $1::bigint
          UNION ALL
          SELECT board, $2::bigint - GREATEST(granted_at, $1::bigint)
          FROM leases
          WHERE state IN ('active', 'finalizing', 'held')) AS used
    GROUP BY board
    ORDER BY board",
        ),
        (
            digest::PAST_FLAKY,
            "SELECT run, family, suite, (comparison::json->'changes'->'flaky')::text AS flaky
    FROM outcomes
    WHERE finished_at > $1 AND json_array_length(comparison::json->'changes'->'flaky') > 0
    ORDER BY finished_at DESC, run DESC
    LIMIT $2",
        ),
        (
            history::SUITE_STAGES,
            concat!(
                "SELECT e.run, e.at, e.kind, e.facts
    FROM events AS e
    WHERE e.kind IN ('granted', 'advanced', 'settled') AND e.run IN ",
                numbers!(),
                " ORDER BY e.run, e.seq"
            ),
        ),
        (
            history::CASE_HISTORY,
            "SELECT came.run, came.build,
           (SELECT c.value::text
            FROM json_array_elements(document_or_null(a.outcome)->'cases') AS c (value)
            WHERE c.value->>'name' = $3
            LIMIT 1) AS found
    FROM outcomes AS came
    JOIN runs AS r ON r.number = came.run
    JOIN attempts AS a ON a.run = came.run AND a.number = r.attempt
    WHERE came.family = $1 AND came.suite = $2 AND came.cases IS NOT NULL
    ORDER BY came.finished_at DESC, came.run DESC
    LIMIT $4",
        ),
    ]
}
