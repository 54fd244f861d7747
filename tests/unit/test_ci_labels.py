"""Labels that CI systems fill in by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessor.ci import labels
from lessor.errors import UsageError
from lessor.wish import make_request, merge_labels
from lessor_protocol.fields import Reader, is_plain_text
from lessor_protocol.message import MAX_LABEL_TEXT, MAX_LABELS
from lessor_protocol.messages import AcquireRequest

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "99",
    "GITHUB_REF_NAME": "12/merge",
    "GITHUB_HEAD_REF": "fix-cart",
    "GITHUB_WORKFLOW": "nightly",
    "GITHUB_JOB": "ui",
}


def test_github_says_run_branch_and_workflow() -> None:
    assert labels(GITHUB) == {
        "ci": "github",
        "job_url": "https://github.com/acme/shop/actions/runs/99",
        "branch": "fix-cart",
        "pipeline": "nightly",
        "job": "ui",
    }


def test_gitlab_says_job_branch_and_pipeline() -> None:
    environ = {
        "GITLAB_CI": "true",
        "CI_JOB_URL": "https://git.test/j/1",
        "CI_COMMIT_REF_NAME": "main",
        "CI_PIPELINE_ID": "7",
        "CI_JOB_NAME": "ui",
    }
    assert labels(environ) == {
        "ci": "gitlab",
        "job_url": "https://git.test/j/1",
        "branch": "main",
        "pipeline": "7",
        "job": "ui",
    }


def test_jenkins_says_build_branch_and_job() -> None:
    environ = {
        "JENKINS_URL": "https://ci.test",
        "BUILD_URL": "https://ci.test/b/1",
        "GIT_BRANCH": "origin/main",
        "JOB_NAME": "nightly",
    }
    assert labels(environ) == {
        "ci": "jenkins",
        "job_url": "https://ci.test/b/1",
        "branch": "origin/main",
        "pipeline": "nightly",
    }


def test_outside_of_ci_there_are_none() -> None:
    assert labels({"BUILD_URL": "x", "CI": "true"}) == {}


@given(branch=st.text(max_size=400))
def test_any_branch_name_becomes_a_label_that_a_server_accepts(branch: str) -> None:
    found = labels({**GITHUB, "GITHUB_HEAD_REF": branch})
    assert all(is_plain_text(value) and len(value) <= MAX_LABEL_TEXT for value in found.values())
    assert Reader({"x": found}).labels("x", most=MAX_LABELS, longest=MAX_LABEL_TEXT) == found


def test_labels_given_win_over_labels_found() -> None:
    assert merge_labels({"branch": "a", "ci": "github"}, {"branch": "b"}) == {
        "branch": "b",
        "ci": "github",
    }


def test_labels_found_give_way_where_there_are_too_many() -> None:
    given_labels = {f"k{i}": "v" for i in range(MAX_LABELS)}
    assert merge_labels({"ci": "github"}, given_labels) == given_labels
    with pytest.raises(UsageError, match="at most 32 labels"):
        merge_labels({}, {**given_labels, "one": "more"})


@given(command=st.text(max_size=3_000))
def test_any_command_line_makes_a_request_that_a_server_reads(command: str) -> None:
    request = make_request(GITHUB, license="kre", pid=5, command=command)
    assert AcquireRequest.from_wire(request.to_wire()) == request
