"""Reads every exported table with pyarrow and DuckDB: `tables.py RUN EXPORTS`."""

import json
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from plain import check_judgement, check_rollout, flat, judgements, quoted, rollouts

run, exports = map(Path, sys.argv[1:])


def csv_text(value):
    """A value as a field of the CSV; numbers are compared as numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value


def same(field, value):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return field != "" and float(field) == value
    return field == csv_text(value)


def check(table):
    path = {ending: str(exports / f"{table}.{ending}") for ending in ["parquet", "jsonl", "csv"]}
    arrow = pq.read_table(path["parquet"])
    expected = [flat(json.loads(line)) for line in Path(path["jsonl"]).open(encoding="utf-8")]
    assert expected, f"{table} has no rows"
    assert arrow.to_pylist() == expected, f"{table}: pyarrow reads other values than the JSON Lines hold"

    parquet = duckdb.sql(f"FROM read_parquet('{path['parquet']}')")
    assert parquet.columns == arrow.column_names == list(expected[0])
    assert [dict(zip(parquet.columns, row)) for row in parquet.fetchall()] == expected, f"{table}: DuckDB"

    csv = duckdb.sql(f"FROM read_csv('{path['csv']}', header = true, all_varchar = true, nullstr = '')")
    assert csv.columns == arrow.column_names
    for fields, row in zip(csv.fetchall(), expected, strict=True):
        for name, field, value in zip(csv.columns, fields, row.values()):
            assert same(field or "", value), f"{table}.{name}: {field!r} in the CSV, {value!r}"

    lines = duckdb.sql(f"SELECT count(*) FROM read_json('{path['jsonl']}', format = 'newline_delimited')")
    assert lines.fetchall() == [(len(expected),)]
    print(f"{table}: {len(expected)} rows of {arrow.num_columns} columns")
    return arrow, expected


def check_types(arrow):
    """The types that the page promises, and which columns may be null."""
    schema = pq.read_schema(exports / "trials.parquet")
    assert str(schema.field("tokens").type).startswith("list<element: int64 not null"), schema.field("tokens")
    for name, kind in [("dose", "double"), ("layer", "int64"), ("text", "string"), ("ended", "bool")]:
        assert str(schema.field(name).type) == kind, schema.field(name)
    assert not schema.field("dose").nullable and schema.field("layer").nullable
    metadata = pq.read_metadata(exports / "trials.parquet")
    assert metadata.created_by.startswith("reachspec version "), metadata.created_by
    assert metadata.row_group(0).column(0).compression == "SNAPPY"
    nulls = [name for name in arrow.column_names if not schema.field(name).nullable and arrow[name].null_count]
    assert not nulls, nulls


def check_horizons():
    """JSON Lines nest what Parquet has in columns: the same counts through DuckDB's own SQL."""
    nested = f"SELECT unnest(horizons) AS h FROM read_json('{exports}/trials.jsonl')"
    nested = duckdb.sql(f"SELECT h.horizon, h.outcome, count(*) FROM ({nested}) GROUP BY ALL").fetchall()
    columns = duckdb.sql(f"SELECT columns('outcome_at_.*') FROM '{exports}/trials.parquet'").columns
    flat = []
    for column in columns:
        counts = duckdb.sql(f"SELECT {column}, count(*) FROM '{exports}/trials.parquet' GROUP BY ALL").fetchall()
        flat += [(int(column.rsplit("_", 1)[1]), outcome, count) for outcome, count in counts]
    assert sorted(nested) == sorted(flat) and flat, (nested, flat)


def check_store(trials):
    """The rollouts and judgements of `trials.sqlite`, through its views."""
    store = rollouts(run)
    for row in trials:
        check_rollout(store[row["trial"]], row)
    judged = judgements(run)
    horizons = [int(name.rsplit("_", 1)[1]) for name in trials[0] if name.startswith("outcome_at_")]
    for row in trials:
        for at in horizons:
            stored = judged[row["behavior"], row["trial"], row["prompt_id"], at]
            check_judgement(stored, {name: row[f"{name}_at_{at}"] for name in stored})
    assert len(judged) == len(trials) * len(horizons), "trials.sqlite holds more judgements than the tables"
    print(f"trials.sqlite: {len(store)} rollouts, {len(judged)} judgements")


def check_attached(rows):
    """DuckDB's own reader of SQLite files, where its extension is installed. It cannot parse the views, but hands a query on."""
    try:
        import duckdb_extension_sqlite_scanner as extension
    except ImportError:
        print("not checked: trials.sqlite attached to DuckDB (there is no duckdb-extension-sqlite-scanner)")
        return
    file = next(Path(extension.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*"))
    duckdb.sql(f"LOAD '{file}'")
    duckdb.sql(f"ATTACH '{run}/trials.sqlite' AS run (TYPE sqlite, READ_ONLY)")
    trials = f"'{exports}/trials.parquet'"
    texts = duckdb.sql(f"SELECT count(*) FROM run.trials WHERE text IN (SELECT text FROM {trials})").fetchone()
    assert texts[0] >= len({row["trial"] for row in rows}), texts
    last = max(int(name.rsplit("_", 1)[1]) for name in rows[0] if name.startswith("outcome_at_"))
    view = f"SELECT trial, outcome FROM judgement_view WHERE behavior = {quoted(rows[0]['behavior'])} AND horizon = {last}"
    joined = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (outcome = outcome_at_{last}) "
        f"FROM sqlite_query('run', {quoted(view)}) JOIN {trials} USING (trial)"
    ).fetchone()
    assert joined[0] == joined[1] > 0, joined
    print(f"trials.sqlite in DuckDB: {joined[0]} judgements joined with the Parquet file")


arrow, rows = check("trials")
check_types(arrow)
check_horizons()
check_store(rows)
check_attached(rows)
for table in ["calibration", "predictions", "verdicts"]:
    check(table)
