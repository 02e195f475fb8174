-- The trial store of reachspec, version 2. Read `trial_view` and `judgement_view`; the tables are packed.
--
-- Packed integers are LEB128: seven bits a byte, lowest first, the top bit says that more follow.
-- `nll` and `cosines` are signed packed integers in steps of 1/1024, folded as 0, -1, 1, -2, ...;
-- in `cosines` each after the first is the difference from the one before it.

CREATE TABLE prompts (
  id     INTEGER PRIMARY KEY,
  tokens BLOB NOT NULL UNIQUE                -- token ids, packed
);

CREATE TABLE settings (
  id   INTEGER PRIMARY KEY,
  json TEXT NOT NULL UNIQUE                  -- model fingerprint, apply, window, horizon, stop_at_end, stop_at_loop, sample
);

CREATE TABLE trials (
  id      INTEGER PRIMARY KEY,
  prompt  INTEGER NOT NULL REFERENCES prompts,
  setting INTEGER NOT NULL REFERENCES settings,
  layer   INTEGER,                           -- null with neuron and dose: an unsteered rollout
  neuron  INTEGER,
  dose    REAL,                              -- activation units; exactly the single-precision number that was added
  seed    INTEGER,                           -- of the sampler, as a signed number; null when greedy
  ended   INTEGER NOT NULL,                  -- whether the last token is end-of-text
  tokens  BLOB NOT NULL,                     -- generated token ids, packed
  nll     BLOB NOT NULL,                     -- nats per generated token under the unsteered model, packed
  cosines BLOB NOT NULL,                     -- measured cosθ at each steered step, packed
  text    TEXT NOT NULL
);

-- Apart from `trials`, so that new trials are appended and only this small index is written in random order.
CREATE TABLE keys (
  key   BLOB PRIMARY KEY,
  trial INTEGER NOT NULL REFERENCES trials
) WITHOUT ROWID;

CREATE TABLE names (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE                  -- names of behaviours, identifiers of prompts
);

CREATE TABLE outcomes (
  id   INTEGER PRIMARY KEY,
  json TEXT NOT NULL UNIQUE                  -- [{horizon, outcome, flipped, rule}, …]
);

-- Derived from `trials`, and replaced as a whole whenever the rollouts are judged again.
CREATE TABLE judgements (
  behavior  INTEGER NOT NULL REFERENCES names,
  trial     INTEGER NOT NULL REFERENCES trials,
  prompt_id INTEGER NOT NULL REFERENCES names,
  outcome   INTEGER NOT NULL REFERENCES outcomes,
  mean_nll  BLOB NOT NULL,                   -- nats per token at each horizon, packed like `nll`
  spans     BLOB,                            -- where the deciding bytes of the text start and end at each horizon, each plus 1, packed; 0 for none
  PRIMARY KEY (behavior, trial, prompt_id)
) WITHOUT ROWID;

-- One row per trial. `unpacked` stands for an expression that the program puts in its place: plain SQL, for any sqlite3.
CREATE VIEW trial_view AS
SELECT lower(hex(keys.key)) AS key,
       layer, neuron, dose,
       json_extract(settings.json, '$.horizon') AS horizon,
       json_extract(settings.json, '$.apply') AS apply,
       json_extract(settings.json, '$.window') AS window,
       unpacked(prompts.tokens) AS prompt_tokens,
       unpacked(trials.tokens) AS tokens,
       ended = 1 AS ended,
       text
FROM keys
JOIN trials ON trials.id = keys.trial
JOIN prompts ON prompts.id = trials.prompt
JOIN settings ON settings.id = trials.setting;

-- One row per judged trial, behaviour and horizon.
CREATE VIEW judgement_view AS
SELECT behavior.name AS behavior,
       lower(hex(keys.key)) AS trial,
       prompt.name AS prompt_id,
       trials.layer, trials.neuron, trials.dose,
       json_extract(judged.value, '$.horizon') AS horizon,
       json_extract(judged.value, '$.outcome') AS outcome,
       json_extract(judged.value, '$.flipped') AS flipped,
       json_extract(judged.value, '$.rule') AS rule,
       -- Offsets in the UTF-8 bytes of the text up to the horizon, which `text` nearly always begins with.
       nullif(json_extract(unpacked(judgements.spans), '$[' || (2 * judged.key) || ']'), 0) - 1 AS span_start,
       nullif(json_extract(unpacked(judgements.spans), '$[' || (2 * judged.key + 1) || ']'), 0) - 1 AS span_end,
       trials.text
-- CROSS JOIN keeps SQLite to this order. Nothing leads from a trial to its key but a search of all keys.
FROM (SELECT DISTINCT behavior AS id FROM judgements) AS measured
JOIN names AS behavior ON behavior.id = measured.id
CROSS JOIN keys
CROSS JOIN trials ON trials.id = keys.trial
CROSS JOIN judgements ON judgements.behavior = measured.id AND judgements.trial = trials.id
JOIN names AS prompt ON prompt.id = judgements.prompt_id
JOIN outcomes ON outcomes.id = judgements.outcome
JOIN json_each(outcomes.json) AS judged;
