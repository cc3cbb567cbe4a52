"""The objects of a database, as text that can be compared."""

from __future__ import annotations

from tests.support.databases import Connection

_OBJECTS = """
WITH own AS (
    SELECT c.oid, c.relname, c.relkind, c.reloptions, c.relacl, c.relrowsecurity FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v', 'S', 'm', 'p')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
)
SELECT format('relation %s %s %s %s %s %s', relkind, relname, reloptions, relacl, relrowsecurity,
              obj_description(oid, 'pg_class')) FROM own
UNION ALL
SELECT format('column %s.%s #%s %s %s %s', own.relname, a.attname,
              row_number() OVER (PARTITION BY own.oid ORDER BY a.attnum),
              format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
FROM own JOIN pg_attribute a ON a.attrelid = own.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT format('index %s valid=%s ready=%s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready)
FROM own JOIN pg_index i ON i.indrelid = own.oid
UNION ALL
SELECT format('constraint %s %s %s', own.relname, conname, pg_get_constraintdef(c.oid))
FROM own JOIN pg_constraint c ON c.conrelid = own.oid
UNION ALL
SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
FROM own JOIN pg_trigger t ON t.tgrelid = own.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('view %s %s', relname, pg_get_viewdef(oid)) FROM own WHERE relkind = 'v'
UNION ALL
SELECT format('function %s %s', pg_get_functiondef(p.oid), p.proacl) FROM pg_proc p
WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind = 'f'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('extension %s', extname) FROM pg_extension
UNION ALL
SELECT format('type %s %s', typname, typtype) FROM pg_type
WHERE typnamespace = current_schema()::regnamespace AND typtype IN ('e', 'd')
UNION ALL
SELECT format('event trigger %s', evtname) FROM pg_event_trigger
"""


async def catalog(connection: Connection) -> set[str]:
    """Every object of the current schema as a text with everything that matters about it."""
    return {str(row[0]) for row in await connection.fetch(_OBJECTS)}
