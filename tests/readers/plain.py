"""Reads a run and its exported trials with nothing but Python: `plain.py RUN EXPORTS`."""

import csv
import json
import sqlite3
import sys
from pathlib import Path


def query(run, sql):
    """Rows of `trials.sqlite` as dictionaries."""
    connection = sqlite3.connect(f"{(run / 'trials.sqlite').resolve().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def rollouts(run):
    """Every rollout by its key; the token ids of some of them, as the views take a while to unpack each."""
    rows = query(run, "SELECT key, layer, neuron, dose, ended, text FROM trial_view")
    for row in query(run, "SELECT key, prompt_tokens, tokens FROM trial_view LIMIT 100"):
        rows.append({name: value if name == "key" else json.loads(value) for name, value in row.items()})
    found = {}
    for row in rows:
        found.setdefault(row["key"], {}).update(row)
    return found


def judgements(run):
    """Every judgement by behaviour, rollout, prompt and horizon, as a dictionary; where some of them decided, which takes longer."""
    key = ["behavior", "trial", "prompt_id", "horizon"]
    found = {}
    for behavior in query(run, "SELECT name FROM names WHERE id IN (SELECT behavior FROM judgements)"):
        # With a behaviour that is named, SQLite begins with the keys of the rollouts, and is much faster.
        of = f"FROM judgement_view WHERE behavior = {quoted(behavior['name'])}"
        rows = query(run, f"SELECT {', '.join(key)}, outcome, flipped, rule {of}")
        rows += query(run, f"SELECT {', '.join(key)}, span_start, span_end {of} LIMIT 100")
        for row in rows:
            found.setdefault(tuple(row.pop(name) for name in key), {}).update(row)
    return found


def quoted(text):
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def flat(row):
    """A row of the JSON Lines with the columns of CSV and Parquet."""
    horizons = row.pop("horizons", [])
    for at in horizons:
        horizon = at.pop("horizon")
        row |= {f"{name}_at_{horizon}": value for name, value in at.items()}
    return row


def check_rollout(stored, row):
    """A row of `trials` says what the store says of its rollout."""
    for name in stored.keys() - {"key", "dose"}:
        assert stored[name] == row[name], (row["trial"], name, stored[name], row[name])
    assert (stored["dose"] or 0.0) == row["dose"], row["trial"]


def check_judgement(stored, at):
    """What a row says at a horizon is what the store says."""
    assert stored == {name: at[name] for name in stored}, (stored, at)


def main(run, exports):
    with (exports / "trials.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    with (exports / "trials.csv").open(encoding="utf-8", newline="") as file:
        fields = list(csv.DictReader(file))
    store, judged = rollouts(run), judgements(run)
    assert rows and len(rows) == len(fields), (len(rows), len(fields))
    found = 0
    for row, field in zip(rows, fields):
        stored = store[row["trial"]]
        check_rollout(stored, row)
        assert float(field["dose"]) == row["dose"]
        for at in row["horizons"]:
            check_judgement(judged[row["behavior"], row["trial"], row["prompt_id"], at["horizon"]], at)
            found += 1
            assert field[f"outcome_at_{at['horizon']}"] == at["outcome"]
        assert field["text"] == row["text"] and json.loads(field["tokens"]) == row["tokens"]
        assert list(field) == list(flat(row))
    assert found == len(judged), "trials.sqlite holds more judgements than the table"
    print(f"{len(rows)} rows, {len(store)} rollouts, {len(judged)} judgements")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
