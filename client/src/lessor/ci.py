"""What a CI system says about the job, as labels that others see while they wait."""

from __future__ import annotations

from lessor_protocol.message import MAX_LABEL_TEXT

from .text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def labels(environ: Mapping[str, str]) -> dict[str, str]:
    """``ci``, ``job_url``, ``branch``, ``pipeline`` and ``job``, as far as the system tells."""
    found = _raw_labels(environ)
    return {name: clean(value, MAX_LABEL_TEXT) for name, value in found.items() if value}


def _raw_labels(environ: Mapping[str, str]) -> dict[str, str]:
    get = environ.get
    if get("GITHUB_ACTIONS") == "true":
        return {
            "ci": "github",
            "job_url": _github_run_url(environ),
            "branch": get("GITHUB_HEAD_REF") or get("GITHUB_REF_NAME", ""),
            "pipeline": get("GITHUB_WORKFLOW", ""),
            "job": get("GITHUB_JOB", ""),
        }
    if get("GITLAB_CI"):
        return {
            "ci": "gitlab",
            "job_url": get("CI_JOB_URL", ""),
            "branch": get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or get("CI_COMMIT_REF_NAME", ""),
            "pipeline": get("CI_PIPELINE_URL") or get("CI_PIPELINE_ID", ""),
            "job": get("CI_JOB_NAME", ""),
        }
    if get("JENKINS_URL"):
        return {
            "ci": "jenkins",
            "job_url": get("BUILD_URL", ""),
            "branch": get("CHANGE_BRANCH") or get("BRANCH_NAME") or get("GIT_BRANCH", ""),
            "pipeline": get("JOB_NAME", ""),
            "job": get("STAGE_NAME", ""),
        }
    return {}


def _github_run_url(environ: Mapping[str, str]) -> str:
    server, repository, run = (
        environ.get(name, "")
        for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    )
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
