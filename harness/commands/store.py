"""The command store lists, verifies, frees, exports and imports artifacts; the command why traces a table cell."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.arguments import add_json, add_suite, console, planned, print_json
from harness.core.errors import HarnessError, near

if TYPE_CHECKING:
    from harness.core.store import Store


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    group = commands.add_parser("store", help="what the store holds: list, verify, gc, export, import, why")
    parts = group.add_subparsers(required=True, metavar="COMMAND")

    one = _add(parts, "list", "every artifact: size, when, where and by what it was made", _list)
    one.add_argument("--kind", help="only those of one stage")
    one.add_argument("--rebuild", action="store_true", help="make the index anew from the manifests")
    add_json(one)

    one = _add(parts, "verify", "read every byte and compare it with what the manifests vouch for", _verify)
    one.add_argument("--set-aside", action="store_true", help="move damaged ones away: a run makes them anew")
    add_json(one)

    one = _add(parts, "gc", "what no run and no baseline needs; removed with --yes alone", _gc)
    one.add_argument("--forget", metavar="RUN", action="append", default=[], help="keep no longer what this run made")
    one.add_argument("--yes", action="store_true", help="remove it")

    one = _add(parts, "export", "write the artifacts of a run, or single ones, to a tar file", _export)
    one.add_argument("--run", metavar="RUN", help="<suite>-<profile>: all that it made")
    one.add_argument(
        "--key", metavar="KEY", action="append", default=[], help="an artifact, with what it was made from"
    )
    one.add_argument("--output", metavar="FILE", required=True, help="the tar file")

    one = _add(parts, "import", "check the artifacts of a tar file and put them into the store", _import)
    one.add_argument("file", help="what `store export` wrote")

    one = _add(parts, "why", "what an artifact is and was made from, by whom, where and when", _why_artifact)
    one.add_argument("key", help="its key, or the beginning of it")
    add_json(one)

    one = add_suite(commands, "why", "where the number in a cell of the table comes from")
    one.add_argument("row", help="as in rows.json: generator/segmenter/backbone")
    one.add_argument("metric", help="as in the columns: PQ, AP, FID")
    add_json(one)
    one.set_defaults(command=_why_cell)


def _add(parts: Any, name: str, help_text: str, command: Any) -> Any:
    one = parts.add_parser(name, help=help_text)
    one.add_argument("--store", metavar="DIR", help="the store (default: HARNESS_STORE or results/store)")
    one.set_defaults(command=command, parser=one)
    return one


def _store(options: argparse.Namespace) -> "Store":
    from harness.core.paths import store_root
    from harness.core.store import Store

    store = Store(store_root(options.store))
    if not store.root.is_dir():
        raise HarnessError(f"{store.root}: no such store", hint="choose one with --store or HARNESS_STORE")
    return store


def _list(options: argparse.Namespace) -> int:
    from harness.core.index import index, rebuild

    store = _store(options)
    entries = [e for e in (rebuild if options.rebuild else index)(store) if options.kind in (None, e.kind)]
    if options.json:
        print_json([{**e._asdict(), "path": str(store.path(e.kind, e.key))} for e in entries])
        return 0
    lines = [
        f"{e.kind:<10} {e.key:<20} {_size(e.bytes):>10} {e.seconds:>9.1f} s  {e.started:<20} {e.host:<16} "
        f"{e.harness or '?':<8} {e.label}"
        for e in entries
    ]
    print("\n".join(lines), end="\n" if lines else "")
    total = _size(sum(e.bytes for e in entries))
    console(stderr=True).print(f"{len(entries)} artifacts, {total}, in {store.root}", markup=False, soft_wrap=True)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from harness.core.upkeep import verify

    store, out = _store(options), console()
    count, damaged = 0, 0
    listed: list[dict[str, Any]] = []
    for kind, key, problems in verify(store):
        count += 1
        damaged += bool(problems)
        listed.append({"kind": kind, "key": key, "problems": [problem.text for problem in problems]})
        for problem in problems if not options.json else ():
            out.print(f"{kind} {key}: {problem.text}", markup=False, soft_wrap=True)
        if problems and options.set_aside:
            store.set_aside(kind, key)
    if options.json:
        print_json(listed)
        return 1 if damaged else 0
    aside = ", set aside: the next run makes them anew" if damaged and options.set_aside else ""
    out.print(f"{count} artifacts, {damaged} damaged{aside}", markup=False, soft_wrap=True)
    return 1 if damaged else 0


def _gc(options: argparse.Namespace) -> int:
    from harness.core import upkeep
    from harness.results.baselines import read_baselines

    store, out = _store(options), console()
    runs = upkeep.remembered(store)
    for name in options.forget:
        if name not in runs:
            raise HarnessError(f"no run {name!r} in {store.root}", hint=near(name, runs))
    kept = {name: run for name, run in runs.items() if name not in options.forget}
    roots = {key for run in kept.values() for key in run.keys}
    roots |= {run.key for baseline in read_baselines() for row in baseline.rows for run in row.seeds}
    found = upkeep.garbage(store, roots)
    for one in found:
        out.print(f"{_size(one.bytes):>10}  {one.path}: {one.why}", markup=False, soft_wrap=True)
    names = ", ".join(sorted(kept)) or "none"
    out.print(
        f"kept: what the accepted baselines need, and what these runs made: {names}", markup=False, soft_wrap=True
    )
    total = _size(sum(one.bytes for one in found))
    if not options.yes:
        out.print(f"{len(found)} things would be removed, {total}; --yes removes them", soft_wrap=True)
        return 0
    for one in found:
        upkeep.remove(one, store)
    for name in options.forget:
        (store.root / "runs" / f"{name}.json").unlink(missing_ok=True)
    out.print(f"{len(found)} things removed, {total}", soft_wrap=True)
    return 0


def _export(options: argparse.Namespace) -> int:
    from harness.core import archive, upkeep
    from harness.core.index import index

    store = _store(options)
    entries = index(store)
    there = {entry.key: entry for entry in entries}
    if options.run:
        runs = upkeep.remembered(store)
        if options.run not in runs:
            raise HarnessError(f"no run {options.run!r} in {store.root}", hint=near(options.run, runs))
        keys = set(runs[options.run].keys)
    else:
        keys = upkeep.needed(entries, [_key(key, there) for key in options.key])
    chosen = [(entry.kind, entry.key) for entry in entries if entry.key in keys]
    if not chosen:
        raise HarnessError("nothing to export", hint="give --run or --key; `harness store list` shows what is there")
    count = sum(1 for _ in archive.export(store, chosen, Path(options.output)))
    console(stderr=True).print(f"{count} artifacts written to {options.output}", markup=False, soft_wrap=True)
    return 0


def _import(options: argparse.Namespace) -> int:
    from harness.core.archive import import_
    from harness.core.paths import store_root
    from harness.core.store import Store

    store = Store(store_root(options.store))
    moved = list(import_(store, Path(options.file)))
    new = sum(one.new for one in moved)
    text = f"{new} artifacts imported into {store.root}, {len(moved) - new} were there already"
    console(stderr=True).print(text, markup=False, soft_wrap=True)
    return 0


def _why_artifact(options: argparse.Namespace) -> int:
    from harness.core.index import index

    store = _store(options)
    entries = {entry.key: entry for entry in index(store)}
    key = _key(options.key, entries)
    if options.json:
        print_json(_chain(store, key))
    else:
        _print_chain(store, key)
    return 0


def _why_cell(options: argparse.Namespace) -> int:
    from harness.results.trace import trace

    plan, store = planned(options)
    out = console()
    if options.json:
        sources = list(trace(plan, store, options.row, options.metric))
        print_json([one._asdict() | {"artifacts": _chain(store, one.key) if one.key else []} for one in sources])
        return 0
    for source in trace(plan, store, options.row, options.metric):
        out.print(f"seed {source.seed}: {options.metric} = {source.text}", markup=False, soft_wrap=True)
        out.print(f"  {source.where}", markup=False, soft_wrap=True)
        if source.key:
            _print_chain(store, source.key, indent=2)
    return 0


def _chain(store: "Store", key: str) -> list[dict[str, Any]]:
    """An artifact and all it was made from, the newest first."""
    from harness.core.index import index
    from harness.core.upkeep import needed
    from harness.stages import STAGES

    entries = index(store)
    chain = needed(entries, [key])
    found = []
    for entry in sorted((e for e in entries if e.key in chain), key=lambda e: e.started, reverse=True):
        manifest = store.manifest(entry.kind, entry.key)
        more = {
            "job": manifest.get("job", {}),
            "changed": bool(manifest.get("environment", {}).get("dirty")),
            "now": STAGES[entry.kind].version if entry.kind in STAGES else None,
            "command": manifest.get("command", "?"),
            "path": str(store.path(entry.kind, entry.key)),
            "log": str(store.log(entry.kind, entry.key)),
        }
        found.append(entry._asdict() | more)
    return found


def _print_chain(store: "Store", key: str, indent: int = 0) -> None:
    out = console()
    for one in _chain(store, key):
        job = one["job"]
        lines = [
            f"{one['kind']} {one['label']}",
            f"  key {one['key']}, {one['files']} files, {_size(one['bytes'])}: {one['path']}",
            f"  made {one['started']} in {one['seconds']:.1f} s on {one['host'] or '?'} ({job.get('device', '?')}), "
            f"{job.get('launcher', '?')} {job.get('id', '')}",
            f"  by harness {one['harness'] or '?'}, stage version {one['stage'] or '?'}, commit {one['commit'] or '?'}"
            + (" with changes" if one["changed"] else "")
            + (f"; not comparable: version {one['now']} here" if one["now"] not in (None, one["stage"]) else ""),
            f"  asked for by: {one['command']}",
            f"  log: {one['log']}",
        ]
        for line in lines:
            out.print(" " * indent + line, markup=False, soft_wrap=True)


def _key(beginning: str, entries: dict[str, Any]) -> str:
    """Return the one key that begins so; HarnessError for none and for several."""
    found = [key for key in entries if key.startswith(beginning)]
    if len(found) != 1:
        raise HarnessError(
            f"{len(found)} artifacts have a key that begins with {beginning!r}", hint="harness store list"
        )
    return found[0]


def _size(count: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
