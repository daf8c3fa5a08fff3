"""The command line: `tradewind up` and its companions."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

from stack import layout
from stack.nats import NatsFailed
from stack.postgres import PostgresFailed
from stack.running import NotPossible
from stack.terminal import complaints

Add = Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser]


def parser() -> argparse.ArgumentParser:
    """Every command with what it takes."""
    top = argparse.ArgumentParser(
        prog="tradewind", description="A sales platform from first contact to cash.", allow_abbrev=False
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, sentence: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=sentence, description=sentence, allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    for group in (_running, _secrecy, _contents, _safety, _sources):
        group(add)
    return top


def _running(add: Add) -> None:
    """What starts, ends and asks processes."""
    up = add("up", "Start everything here: servers, migrations, services, gateway, demo company.", _up)
    up.add_argument("--detach", action="store_true", help="return when everything is ready")
    up.add_argument("--fresh", action="store_true", help="start over: remove this installation's data first")
    up.add_argument("--empty", action="store_true", help="make no demo company, only an administrator")
    up.add_argument(
        "--tls", action="store_true", help="certificates of its own everywhere: HTTPS, mTLS, NATS"
    )
    up.add_argument("--report-to", type=int, help=argparse.SUPPRESS)
    add("down", "End what `up` started; data are kept.", _down)
    add("status", "Say what runs and whether it answers; exit code 3 when nothing runs.", _status)
    serve = add("serve", "Be one process of the platform, told by its environment.", _serve)
    serve.add_argument("service", choices=layout.PROCESSES)
    migrate = add("migrate", "Bring every database, or these processes' own, to this version.", _migrate)
    migrate.add_argument("process", nargs="*", type=_process, metavar=f"{{{','.join(layout.PROCESSES)}}}")
    migrate.add_argument(
        "--wait", type=float, metavar="SECONDS", help="change nothing: wait for somebody else to have done it"
    )
    health = add("health", "Ask a process whether it serves; exit code 1 when it does not.", _health)
    health.add_argument("address", help="host:port of a service, or the http://… address of a page")


def _secrecy(add: Add) -> None:
    """Keys, passwords, certificates."""
    secrets = add("secrets", "Make the keys and passwords of an installation, each once.", _secrets)
    secrets.add_argument("folder", type=Path, help="where they are kept, one a file")
    secrets.add_argument(
        "--kubernetes", metavar="NAMESPACE", help="print them as Secrets for `kubectl apply -f -`"
    )
    secrets.add_argument("--tls", action="store_true", help="the brokers are met over TLS")
    certify = add("certify", "Make this installation's certificates, or renew those that end soon.", _certify)
    certify.add_argument("--again", action="store_true", help="renew all of them")
    certify.add_argument(
        "--authority",
        action="store_true",
        help="have them signed by a new authority; the former is believed, too",
    )
    keys = add("keys", "Show or change the keys of personal data, while everybody works on.", _keys)
    keys.add_argument(
        "what", nargs="?", choices=("status", "encrypt", "rotate"), default="status",
        help="status; encrypt what a release before kept in plain; rotate: everything under new keys",
    )  # fmt: skip
    keys.add_argument("--organization", default="", metavar="ID", help="only this organization's data key")
    keys.add_argument("--master", action="store_true", help="a new master key instead of new data keys")


def _contents(add: Add) -> None:
    """What comes into the platform, and whether it adds up."""
    seed = add("seed", "Make the demo company in the running platform.", _seed)
    seed.add_argument("--empty", action="store_true", help="only an organization with an administrator")
    bring = add("import", "Bring a folder of CSV files in through the public API.", _import)
    bring.add_argument("mapping", type=Path, help="which columns become what (YAML)")
    bring.add_argument("folder", type=Path, help="where the files are")
    bring.add_argument("--as", dest="email", metavar="EMAIL", help="who imports; one of sign-ins.json")
    bring.add_argument("--organization", metavar="NAME", help="import into a new organization of this name")
    bring.add_argument("--report", type=Path, help="write the verdict on every row to this CSV file")
    verify = add(
        "verify", "Check the conservation laws of every service; exit code 1 when one is broken.", _verify
    )
    verify.add_argument(
        "--audit",
        action="store_true",
        help="compute the chains of facts again instead: was anything altered?",
    )
    again = add("rebuild", "Have read models counted again from the first fact.", _rebuild)
    again.add_argument("service", choices=layout.REBUILDABLE)


def _safety(add: Add) -> None:
    """Backups, and events that could not be applied."""
    backup = add("backup", "Write every database into a folder, with a manifest.", _backup)
    backup.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="a folder of its own; by default one in TRADEWIND_HOME/backups",
    )
    bring_back = add(
        "restore", "Bring databases back to a backup, and everything in line with them.", _restore
    )
    bring_back.add_argument("folder", type=Path, nargs="?", help="a backup")
    bring_back.add_argument(
        "--only", choices=layout.PROCESSES, metavar="SERVICE", help="one service, while the others run"
    )
    bring_back.add_argument("--discard", action="store_true", help="do not keep a copy of what is replaced")
    bring_back.add_argument("--report", action="store_true", help="only say what the last restoration led to")
    events = add("events", "Show the events that could not be applied, or apply them again.", _events)
    events.add_argument("what", nargs="?", choices=("list", "retry"), default="list", help="list, or retry")
    events.add_argument("service", nargs="?", choices=layout.PROCESSES, help="whose; all where none is named")
    events.add_argument("--source", default="", metavar="SERVICE", help="only what this service told")
    events.add_argument("--record", default="", metavar="NAME", help="only of this record: customers/…")


def _sources(add: Add) -> None:
    """For who changes the platform."""
    check = add("check", "Check the source tree: layers, compiled protos, requirements.", _check)
    check.add_argument("--requirements", action="store_true", help="print which requirement each test claims")
    add("protos", "Compile proto/ into gen/ when it has changed.", _protos)


def _process(name: str) -> str:
    """One of several processes; `choices` would refuse that none is named."""
    if name not in layout.PROCESSES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(layout.PROCESSES)}")
    return name


def _up(wanted: argparse.Namespace) -> int:
    from stack import up

    return up.up(up.Wishes(wanted.fresh, wanted.empty, wanted.detach, wanted.tls), wanted.report_to)


def _down(wanted: argparse.Namespace) -> int:
    from stack import running

    return running.down()


def _status(wanted: argparse.Namespace) -> int:
    from stack import running

    return running.status()


def _serve(wanted: argparse.Namespace) -> int:
    runpy.run_module(layout.module_of(wanted.service), run_name="__main__", alter_sys=True)
    return 0


def _migrate(wanted: argparse.Namespace) -> int:
    from stack import commands, remote

    if wanted.process:
        return remote.migrate(wanted.process, wanted.wait)
    if wanted.wait is not None:
        raise NotPossible("--wait waits for one process' own database: say which.")
    return commands.migrate()


def _health(wanted: argparse.Namespace) -> int:
    from stack import remote

    return remote.health(wanted.address)


def _keys(wanted: argparse.Namespace) -> int:
    from stack import key_rings

    if wanted.what == "rotate" and wanted.master:
        return key_rings.rotate_master()
    if wanted.what == "rotate":
        return key_rings.rotate(wanted.organization.removeprefix("organizations/"))
    return key_rings.encrypt() if wanted.what == "encrypt" else key_rings.status()


def _secrets(wanted: argparse.Namespace) -> int:
    from stack import secret_files

    return secret_files.make(wanted.folder, wanted.kubernetes, encrypted=wanted.tls)


def _certify(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.certify(again=wanted.again, authority=wanted.authority)


def _seed(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.seed(empty=wanted.empty)


def _import(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.bring_in(wanted.mapping, wanted.folder, wanted.email, wanted.organization, wanted.report)


def _verify(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.verify(audit=wanted.audit)


def _rebuild(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.rebuild(wanted.service)


def _backup(wanted: argparse.Namespace) -> int:
    from stack import recovery

    return recovery.backup(wanted.to)


def _restore(wanted: argparse.Namespace) -> int:
    from stack import recovery

    if wanted.report:
        return recovery.report()
    if wanted.folder is None:
        raise NotPossible("Say which backup: `tradewind restore FOLDER`.")
    return recovery.bring_back(wanted.folder, wanted.only, discard=wanted.discard)


def _events(wanted: argparse.Namespace) -> int:
    from stack import commands

    return commands.events(wanted.service, wanted.source, wanted.record, again=wanted.what == "retry")


def _check(wanted: argparse.Namespace) -> int:
    from stack import check

    return check.main(requirements=wanted.requirements)


def _protos(wanted: argparse.Namespace) -> int:
    from stack import protos

    print("compiled" if protos.compile_all(Path(__file__).resolve().parents[1]) else "up to date")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; answer its exit code. What is not possible is said in a sentence, without a trace."""
    wanted = parser().parse_args(arguments)
    try:
        return int(wanted.run(wanted))
    except (NotPossible, PostgresFailed, NatsFailed) as refused:
        complaints.print(str(refused), style="red", markup=False)
        return 1
    except PermissionError as refused:
        complaints.print(f"{refused.filename}: {refused.strerror}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
