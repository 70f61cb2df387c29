"""`bench claims`: what papers claim, and the verdicts that records give."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bench_core.cli.engine_options import engine_options
from bench_core.cli.options import BOARDS, DATA_ROOT, Command, load, terminal_width
from bench_core.output import say

if TYPE_CHECKING:
    from bench_core.reports.claims.claim import Paper
    from bench_core.reports.claims.report import JudgedClaim

_EXAMPLES = """\b
Examples:
  bench claims
  bench claims nac --run --store mine --jobs 2
"""


def _complete_paper(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    from bench_core.reports.claims.files import load_papers
    from bench_core.reports.claims.folders import all_claim_folders

    papers = load_papers(all_claim_folders().found).values()
    return [CompletionItem(paper.key, help=paper.title) for paper in papers if paper.key.startswith(begun)]


@click.command(cls=Command, epilog=_EXAMPLES)
@click.argument("paper", required=False, metavar="[PAPER]", shell_complete=_complete_paper)
@click.option(
    "--store", type=click.Path(path_type=Path),
    help="Judge by the records of this store. Default: the published records; with --run the folder runs.",
)  # fmt: skip
@BOARDS
@click.option(
    "--claims", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Read the claim files of this folder, NAME.toml. Default: the project's, and those that plugins bring.",
)  # fmt: skip
@click.option("--markdown", is_flag=True, help="Print a page of Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all digits.")
@click.option("--run", "runs", is_flag=True, help="First run what the claims need and the store lacks.")
@click.option("--dry-run", is_flag=True, help="With --run: print what would run. Nothing is run or written.")
@click.option("--download", is_flag=True, help="With --run: download datasets that are missing.")
@click.option("--quiet", is_flag=True, help="With --run: show no progress.")
@DATA_ROOT
@engine_options
@click.pass_context
def claims(
    ctx: click.Context,
    /,
    paper: str | None,
    store: Path | None,
    leaderboards: Path,
    folder: Path | None,
    markdown: bool,
    as_json: bool,
    runs: bool,
    dry_run: bool,
    **engine: Any,
) -> None:
    """Judge what papers claim by records.

    Prints a table for each paper: claim, verdict, difference with its interval, seeds, board. PAPER names one of them,
    and shows each of its claims in full, with source, numbers, controls, and the command that measures it.

    With --run the cells that are missing are run first, as `bench run` does; the options for devices, processes and
    Slurm are the same, and so are the exit codes.
    """
    from bench_core.cli.measure import run_all, typed_options
    from bench_core.errors import RequestError
    from bench_core.reports.claims.commands import commands_for
    from bench_core.reports.claims.evidence import BoardTables
    from bench_core.reports.claims.page import claims_page
    from bench_core.reports.claims.report import judged_papers, wrong_claims
    from bench_core.reports.claims.text import in_full, json_text, overview
    from bench_core.store import Store

    if markdown and as_json:
        raise RequestError("--markdown and --json are two formats; give one of them.")
    if not runs and (of_run := typed_options(ctx, "dry_run")):
        raise RequestError(f"{of_run[0].partition('=')[0]} says how cells are run: add --run.")
    if engine["rerun"]:
        raise RequestError("--run runs what is missing; for finished cells type `bench run --rerun A,B`.")
    papers = _papers(paper, folder)
    registry, code = load(ctx), 0
    if runs:
        store = store or Path("runs")
        judged = judged_papers(papers, BoardTables(registry, store=Store(store)), leaderboards)
        claims_left = [claim for each in judged for claim in each.claims if claim.left]
        needed = [claim.claim for claim in claims_left if not claim.claim.needs]
        requests = [[*command.words, "--store", str(store)] for command in commands_for(needed, leaderboards)]
        for line in _begin_lines(claims_left, len(requests)):
            say(line, err=True)
        code = run_all(ctx, requests, dry_run=dry_run)
        if dry_run:
            ctx.exit(code)
    published = None if store else leaderboards
    records = None if store is None else Store(store) if runs else Store.existing(store)
    boards = BoardTables(registry, leaderboards=published, store=records)
    judged = judged_papers(papers, boards, leaderboards)
    for line in wrong_claims(judged, boards):
        say(line, err=True)
    if as_json:
        say(json_text(judged))
    elif markdown:
        say(claims_page(judged), nl=False)
    elif paper is None:
        say(overview(judged, terminal_width()), nl=False)
    else:
        say(in_full(judged[0], terminal_width()), nl=False)
    ctx.exit(code)


def _papers(key: str | None, folder: Path | None) -> "dict[str, Paper]":
    """Return the papers whose claims are judged, and say on stderr which packages cannot be read.

    Raises:
        UnknownNameError: There is no such paper.
    """
    from bench_core.errors import UnknownNameError
    from bench_core.reports.claims.files import load_papers
    from bench_core.reports.claims.folders import all_claim_folders, given_claim_folder

    folders = all_claim_folders() if folder is None else given_claim_folder(folder)
    for line in folders.broken:
        say(line, err=True)
    papers = load_papers(folders.found)
    if key is None:
        return papers
    if key not in papers:
        raise UnknownNameError("paper", key, papers, "Or name a folder of claim files: --claims FOLDER.")
    return {key: papers[key]}


def _begin_lines(claims_left: "Sequence[JudgedClaim]", commands: int) -> list[str]:
    """Say how much is run before it is, and which claims are left to the user as they need more than time."""
    left_out = [claim for claim in claims_left if claim.claim.needs]
    left = len(claims_left) - len(left_out)
    of_run = f"{commands} command{'' if commands == 1 else 's'} of `bench run`"
    lines = []
    if not claims_left:
        lines.append("nothing to run: the store has every cell that a board can give these claims")
    elif left:
        lines.append(f"{left} claim{' needs' if left == 1 else 's need'} cells that the store lacks; {of_run}")
    for claim in left_out:
        typed = "; ".join(command.text for command in claim.commands)
        lines.append(f"{claim.claim.name} is not run, as it needs {claim.claim.needs}. To run it: {typed}")
    return lines
