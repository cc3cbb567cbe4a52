"""SQL is text of ours: values are parameters; where a statement is put together, it is from constants."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import embedq_tui
import embedq_worker

ASKS = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "cursor", "prepare"}
"""Methods of a connection whose first argument is SQL."""

OURS = "from constants of ours, chosen by the kind of a question; what is asked for are parameters"
ASSEMBLED = {
    "actions.tasks._batch": "words of an action, constants of `actions`, and conditions of `selection`",
    "actions.left_out.left_out": "conditions of an action and of `queue.selection`, constants",
    "insights.articles._step": OURS,
    "insights.audit.audit_page": "conditions of `AuditFilter`: levels and categories are words of a list",
    "insights.audit_tail._read": "the same conditions",
    "insights.detail._tasks_of": "the number of a parameter",
    "insights.detail.task_detail": "the number of a parameter",
    "insights.tasks.list_tasks": OURS,
    "database.kept.fetch": "hands on what its caller asks",
    "database.line.execute": "hands on what its caller asks",
    "database.line.fetch": "hands on what its caller asks",
    "database.line.fetchrow": "hands on what its caller asks",
    "database.line.fetchval": "hands on what its caller asks",
    "queue.retention._delete": "tables and conditions of a list of ours, and a number of rows",
    "queue.retention._delete_batch": "the same",
    "queue.retention.count_expired": "the same",
    "schema.migrations.grant_roles": "a file of sql/",
    "queue.claims.complete": "a type, its schema quoted by PostgreSQL",
    "schema.session._alone": "a file of sql/, and the name of an index in it",
    "schema.session._displaced_vacuum": "a table of the catalog, as PostgreSQL writes a regclass: quoted",
    "schema.session._in_transaction": "a file of sql/, and a number of our own",
    "schema.session._take_lock": "a number, a constant",
    "schema.session.release": "a number, a constant",
    "schema.session.schema_session": "no SQL: `prepare` of a session of ours",
    "content.search._best_by_index": "a schema, quoted by PostgreSQL, and a number of components",
    "content.search._best_exactly": "a schema, quoted by PostgreSQL, and a number of components",
    "queue.selection.count_tasks": OURS,
}
"""Functions of embedq_worker that put a statement together, and why no value of anybody can get into it."""


_UNKNOWN = ast.Constant(value=None)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of ours by its dotted name."""
    for package in (embedq_worker, embedq_tui):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            name = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
            yield name, ast.parse(path.read_text("utf-8"))


def assigned(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """What is assigned by one statement of a block and by no other; a name of two values is none of ours."""
    values: dict[str, list[ast.expr]] = {}
    for block in body:
        for node in ast.walk(block):
            match node:
                case ast.Assign(targets=[ast.Name(name)], value=value):
                    values.setdefault(name, []).append(value)
                case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                    values.setdefault(name, []).append(value)
                case ast.AugAssign(target=ast.Name(name)) | ast.For(target=ast.Name(name)):
                    values.setdefault(name, []).extend([_UNKNOWN, _UNKNOWN])
    return {name: found[0] for name, found in values.items() if len(found) == 1}


def is_constant(node: ast.expr, known: dict[str, ast.expr]) -> bool:
    """Whether an expression is the same text whatever happens: literals, and names of such."""
    match node:
        case ast.Constant(value=str() | int()):
            return True
        case ast.Name(name):  # taken out of what is known: it may be made from itself
            others = {other: value for other, value in known.items() if other != name}
            return name in known and is_constant(known[name], others)
        case ast.JoinedStr(values=parts):
            return all(
                is_constant(part.value if isinstance(part, ast.FormattedValue) else part, known)
                for part in parts
            )
        case ast.BinOp(left, ast.Add(), right):
            return is_constant(left, known) and is_constant(right, known)
        case ast.IfExp(body=body, orelse=other):
            return is_constant(body, known) and is_constant(other, known)
        case ast.Call(
            func=ast.Attribute(value=text, attr="format" | "replace"), args=arguments, keywords=words
        ):
            return all(is_constant(one, known) for one in (text, *arguments, *(word.value for word in words)))
    return False


def top(module: ast.Module) -> dict[str, ast.expr]:
    """Constants of a module."""
    return assigned([node for node in module.body if isinstance(node, ast.Assign | ast.AnnAssign)])


def known_in(module: ast.Module, everywhere: Mapping[str, Mapping[str, ast.expr]]) -> dict[str, ast.expr]:
    """Constants of a module and those it imports from modules of ours."""
    found: dict[str, ast.expr] = {}
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module in everywhere:
            theirs = everywhere[node.module]
            found |= {alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
    return found | top(module)


def assembled() -> set[str]:
    """Functions that send what is not a constant."""
    every = dict(modules())
    everywhere = {name: top(module) for name, module in every.items()}
    found = set()
    for name, module in every.items():
        known = known_in(module, everywhere)
        for function in ast.walk(module):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = known | assigned(function.body)
                found |= {
                    f"{name}.{function.name}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ASKS
                    and node.args
                    and not is_constant(node.args[0], inner)
                }
    return found


def test_values_are_parameters_and_every_statement_that_is_put_together_has_its_reason() -> None:
    assert assembled() == {f"embedq_worker.{name}" for name in ASSEMBLED}


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ("f('SELECT $1')", True),
        ("f(f'SELECT {KNOWN}')", True),
        ("f(f'SELECT {name}')", False),
        ("f('SELECT ' + name)", False),
        ("f('SELECT %s' % name)", False),
        ("f('SELECT {}'.format(name))", False),
        ("f(KNOWN.replace('1', name))", False),
        ("f(name)", False),
    ],
)
def test_what_holds_a_value_is_seen(source: str, good: bool) -> None:
    known = assigned(ast.parse("KNOWN = 'SELECT 1'").body)
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert is_constant(call.args[0], known) is good
