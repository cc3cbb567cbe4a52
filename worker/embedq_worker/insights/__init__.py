"""All reading for operators. Screens, commands and exporters share these queries, so they cannot disagree.

Modules: `overview` (counts, workers, providers), `health` (what is wrong, in the words of `issues`; `vitals`
are its figures), `metrics` (throughput and times), `stats`, `failures` (with `advice`), `stuck`, `deaths` (of
workers, lately), `doctor` (could a worker work here), `access` (may an operator act here; `rights` are what
that takes), `models` (which vectors there are), `tasks` and `articles` (lists of any size), `coverage` (how
many are embedded), `detail` (one task, one article), `audit` and `audit_tail` (the log, and what is new in
it; `events` are its rows). `shares` and `documents` make figures and stored JSON fit to be shown.

Each query takes a connection and returns immutable values. Texts in them are as stored; whoever shows them
must make them printable. Database errors are passed on: asyncpg.PostgresError, OSError, TimeoutError, see
`failures.explained`.
"""
