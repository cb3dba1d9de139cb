"""``neucept audit``: does the promised precision hold on the layers of a study?"""

from __future__ import annotations

from pathlib import Path

from neucept.cli.screen import cells, console, one_line, progress, table


def audit(study: Path, /, *, repeats: int = 4, n_jobs: int | None = None) -> None:
    """Measure whether the promised precision holds on the layers of a finished study.

    Targets whose neurons are known are planted on the study's own activations and selected for as
    the study did. Writes audit.parquet into the study folder and the page anew.

    Args:
        study: The study folder.
        repeats: Targets of each kind and noise on each layer, at least 2.
        n_jobs: Workers; one per core by default.
    """
    from neucept.report import write_report
    from neucept.study.auditing import audit_study
    from neucept.study.folder import Study

    with progress() as advance:
        audited, found = audit_study(
            Study.open(study), repeats=repeats, n_jobs=n_jobs, progress=advance
        )
    out = console()
    shown = table(("layer", "targets", "noise", "wrong", "found"), ("noise", "wrong", "found"))
    for row in found.to_dict("records"):
        wrong = f"{100 * row['fdr']:.0f} % +- {100 * row['fdr_error']:.0f} %"
        power = f"{100 * row['power']:.0f} % +- {100 * row['power_error']:.0f} %"
        shown.add_row(*cells(row["layer"], row["kind"], f"{row['noise']:g}", wrong, power))
    out.print(shown)
    out.print()
    for entry in audited.info["layers"]:
        said = entry.get("audit")
        summary = said["summary"] if said else "too narrow for an audit, or nothing is promised"
        out.print(one_line(f"{entry['name']}: {summary}."))
    page = write_report(audited, study / "report.html")
    out.print(f"Page: {one_line(page)}", soft_wrap=True)
