"""SQL of the results store: one tuple of statements per schema version, applied in order.

A step is never edited once it was released; a change of the schema is a new step. `user_version` of the file
says how many were applied.
"""

_SOURCE = "CHECK (source IN ('measured','simulated','estimated'))"

_1 = (
    """CREATE TABLE device (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
      kind TEXT NOT NULL CHECK (kind IN ('host','phone','board','mcu','browser')),
      isa TEXT NOT NULL, clock_hz INTEGER, ram_bytes INTEGER, flash_bytes INTEGER,
      facts TEXT NOT NULL DEFAULT '{}')""",
    """CREATE TABLE model (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL, revision TEXT NOT NULL,
      sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
      scheme TEXT NOT NULL CHECK (scheme IN ('fp32','int8','int4','shift','ternary','binary')),
      size_bytes INTEGER NOT NULL, UNIQUE (name, revision))""",
    """CREATE TABLE run (
      id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES device,
      model INTEGER NOT NULL REFERENCES model,
      backend TEXT NOT NULL, threads INTEGER NOT NULL, started_utc TEXT NOT NULL, edgeq_commit TEXT NOT NULL,
      warmup INTEGER NOT NULL, n INTEGER NOT NULL, temp_start_c REAL, temp_end_c REAL,
      host TEXT NOT NULL DEFAULT '{}', dataset TEXT, split TEXT, items INTEGER)""",
    f"""CREATE TABLE value (
      run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, metric TEXT NOT NULL, value REAL NOT NULL,
      unit TEXT NOT NULL, source TEXT NOT NULL {_SOURCE}, method TEXT NOT NULL,
      PRIMARY KEY (run, metric, source))""",
    """CREATE TABLE sample (
      run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, i INTEGER NOT NULL, ns INTEGER NOT NULL,
      PRIMARY KEY (run, i)) WITHOUT ROWID""",
    f"""CREATE TABLE layer (
      run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, i INTEGER NOT NULL, name TEXT NOT NULL,
      op TEXT NOT NULL, ns INTEGER, macs INTEGER, bytes INTEGER, source TEXT NOT NULL {_SOURCE},
      PRIMARY KEY (run, i)) WITHOUT ROWID""",
)

# 2: one package compiles to several files (targets, compiler versions), so name and revision do not name the
# bytes; a run says which verb, target, ISA and signature it had; a value says its n, interval and scope.
_2 = (
    """CREATE TABLE model_2 (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''), revision TEXT NOT NULL,
      sha256 TEXT NOT NULL CHECK (length(sha256) = 64 AND sha256 NOT GLOB '*[^0-9a-f]*'),
      scheme TEXT NOT NULL CHECK (scheme IN ('fp32','int8','int4','shift','ternary','binary')),
      size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0), UNIQUE (name, revision, sha256))""",
    "INSERT INTO model_2 SELECT id, name, revision, sha256, scheme, size_bytes FROM model",
    "DROP TABLE model",
    "ALTER TABLE model_2 RENAME TO model",
    f"""CREATE TABLE value_2 (
      run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, metric TEXT NOT NULL CHECK (metric <> ''),
      value REAL NOT NULL, unit TEXT NOT NULL CHECK (unit <> ''), source TEXT NOT NULL {_SOURCE},
      method TEXT NOT NULL CHECK (method <> ''), n INTEGER, warmup INTEGER, low REAL, high REAL,
      scope TEXT CHECK (scope IN ('rail','package','device','model')),
      CHECK (metric NOT LIKE 'energy%' OR scope IS NOT NULL),
      PRIMARY KEY (run, metric, source))""",
    """INSERT INTO value_2 (run, metric, value, unit, source, method, n, warmup, scope)
      SELECT value.run, metric, value, unit, source, method, run.n, run.warmup,
             CASE WHEN metric NOT LIKE 'energy%' THEN NULL WHEN source = 'estimated' THEN 'model'
                  ELSE 'device' END
      FROM value JOIN run ON run.id = value.run""",
    "DROP TABLE value",
    "ALTER TABLE value_2 RENAME TO value",
    "ALTER TABLE run ADD COLUMN verb TEXT NOT NULL DEFAULT 'bench' CHECK (verb IN ('deploy','bench','eval','profile'))",
    "ALTER TABLE run ADD COLUMN target TEXT NOT NULL DEFAULT 'executorch'",
    "ALTER TABLE run ADD COLUMN isa TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE run ADD COLUMN edgeq_version TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE run ADD COLUMN package_sha256 TEXT",
    "ALTER TABLE run ADD COLUMN package_commit TEXT",
    "ALTER TABLE run ADD COLUMN signature TEXT CHECK (signature IN ('trusted','untrusted','unsigned'))",
    "ALTER TABLE run ADD COLUMN signed_by TEXT",
    "ALTER TABLE run ADD COLUMN freq_start_hz INTEGER",
    "ALTER TABLE run ADD COLUMN freq_end_hz INTEGER",
    "ALTER TABLE run ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]'",
    "UPDATE run SET isa = (SELECT isa FROM device WHERE device.id = run.device)",
    "CREATE INDEX run_by_model ON run (model, device)",
)

# 3: fine-tuning is a verb; a run has free facts of its verb and curves, each with its units and source.
_RUN_COLUMNS = (
    "id, device, model, backend, threads, started_utc, edgeq_commit, warmup, n, temp_start_c, temp_end_c, host,"
    " dataset, split, items, verb, target, isa, edgeq_version, package_sha256, package_commit, signature, signed_by,"
    " freq_start_hz, freq_end_hz, warnings"
)
_3 = (
    """CREATE TABLE run_3 (
      id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES device,
      model INTEGER NOT NULL REFERENCES model,
      backend TEXT NOT NULL, threads INTEGER NOT NULL, started_utc TEXT NOT NULL, edgeq_commit TEXT NOT NULL,
      warmup INTEGER NOT NULL, n INTEGER NOT NULL, temp_start_c REAL, temp_end_c REAL,
      host TEXT NOT NULL DEFAULT '{}', dataset TEXT, split TEXT, items INTEGER,
      verb TEXT NOT NULL CHECK (verb IN ('deploy','bench','eval','profile','finetune')),
      target TEXT NOT NULL, isa TEXT NOT NULL, edgeq_version TEXT NOT NULL,
      package_sha256 TEXT, package_commit TEXT,
      signature TEXT CHECK (signature IN ('trusted','untrusted','unsigned')), signed_by TEXT,
      freq_start_hz INTEGER, freq_end_hz INTEGER, warnings TEXT NOT NULL DEFAULT '[]',
      details TEXT NOT NULL DEFAULT '{}')""",
    f"INSERT INTO run_3 ({_RUN_COLUMNS}) SELECT {_RUN_COLUMNS} FROM run",
    "DROP TABLE run",
    "ALTER TABLE run_3 RENAME TO run",
    "CREATE INDEX run_by_model ON run (model, device)",
    f"""CREATE TABLE series (
      id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
      name TEXT NOT NULL CHECK (name <> ''), unit TEXT NOT NULL CHECK (unit <> ''),
      x_unit TEXT NOT NULL CHECK (x_unit <> ''), source TEXT NOT NULL {_SOURCE}, UNIQUE (run, name))""",
    """CREATE TABLE point (
      series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE, i INTEGER NOT NULL,
      x REAL NOT NULL, value REAL NOT NULL, PRIMARY KEY (series, i)) WITHOUT ROWID""",
)

MIGRATIONS = (_1, _2, _3)
VERSION = len(MIGRATIONS)
