"""All that is read for an operator. Screens, commands and exporters ask here, so they cannot disagree.

Rooms: `overview` (counts, workers, providers), `pace` (of two looks at it), `health` (what is wrong; `vitals`
are its figures), `metrics` (throughput and times), `stats`, `failures` (with `advice`), `stuck`, `integrity`
(what another program left behind), `doctor` (could a worker work here), `access` (may an operator act here),
`models` (which vectors there are), `tasks` and `articles` (lists of any size), `coverage` (how many are
embedded), `detail` (one task, one article), `audit` and `audit_tail` (the log, and what is new in it;
`events` are its rows).

Each takes a connection and returns frozen dataclasses; texts in them are as stored: whoever shows them makes
them printable. What the database raises is raised: asyncpg.PostgresError, OSError, TimeoutError, see
`failures.explained`.
"""
