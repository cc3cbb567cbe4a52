"""All that is read for an operator. Screens, commands and exporters ask here, so they cannot disagree.

Rooms: `overview` (counts, workers, providers), `health` (what is wrong; `vitals` are its figures),
`metrics` (pace and times), `stats`, `failures`, `stuck`, `integrity` (is what is kept what is there),
`doctor` (could a worker work here), `access` (may an operator act here), `models` (which vectors there are),
`tasks` and `articles` (lists of any size), `operations` (what operators did last), `detail` (one task, one
article). Each takes a connection and returns frozen dataclasses; texts in them are as stored: whoever shows
them makes them printable.
"""
