"""The OpenAPI document against the running daemon, by schemathesis: whatever it thinks of, the daemon answers as the document says.

It draws requests that hold to the document and requests that do not.  What holds to it may still speak of what is not there, and be refused:
that the right ones are accepted, test_api_changes.py tells."""

from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from api_client import OPENAPI, Company
from api_client import ingest  # noqa: F401 (a fixture)
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import allow_header_conformance, negative_data_rejection, positive_data_acceptance, unsupported_method

EXAMPLES = 30       # of each operation: the whole stays within a minute
schema = schemathesis.openapi.from_dict(OPENAPI)


@pytest.fixture(scope="module")
def inhabited(schema_ready, ingest):
    """A company with a row of each kind, and a token that may do everything in it."""
    with schema_ready.connect() as connection:
        company = Company(connection, ingest.url)
        lead_id = company.lead("hot")
        call_id = company.call(status="missed", lead_id=lead_id)
        company.transcript(call_id, "agent: hello")
        company.analysis(call_id)
        appointment_id = company.appointment(lead_id=lead_id)
        session_id = company.session(appointment_id)
        company.ids = {"/api/v1/calls": call_id, "/api/v1/leads": lead_id, "/api/v1/recordings": session_id,
                       "lead_id": lead_id, "appointment_id": appointment_id}
        company.owner = company.user("owner")[1]
        yield company


def point_to_what_is_there(case, ids):
    """Half of the requests that hold to the document speak of rows that are there."""
    if not case.meta.generation.mode.is_positive or len(str(case.as_curl_command())) % 2:
        return
    of_path = [row for path, row in ids.items() if case.path.startswith(path)]
    if of_path and "id" in case.path_parameters:
        case.path_parameters["id"] = of_path[0]
    if isinstance(case.body, dict):
        case.body.update({name: ids[name] for name in case.body if name in ids})


def left_out(case, response):
    """An empty parameter is as if it were not there, and an empty list of values is not there; a head of more than 8 KiB is refused whatever
    it says, and a handshake has no body that anybody reads; and to GET, …/sessions/start is a visit like any other."""
    sent = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    handshake = case.path == "/graph/notify" and "validationToken" in sent
    empty = [""] in sent.values() or [] in (case.query or {}).values()
    unread = [negative_data_rejection] if empty or response.status_code in (414, 431) or handshake else []
    start = [allow_header_conformance, unsupported_method] if case.path.endswith("/sessions/start") else []
    return [positive_data_acceptance, *unread, *start]


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_the_daemon_does_as_the_document_says(case, inhabited):
    point_to_what_is_there(case, inhabited.ids)
    response = case.call(base_url=inhabited.url, headers={"Authorization": f"Bearer {inhabited.owner.token}"})
    case.validate_response(response, excluded_checks=left_out(case, response))


def test_every_operation_is_tried(request):
    """Each by a test of its own id: of several with the same one pytest-xdist would run but one."""
    count = sum(len(item.keys() & {"get", "post", "patch"}) for item in OPENAPI["paths"].values())
    tests = [item.nodeid for item in request.session.items if item.path == request.path]
    assert len(list(schema.get_all_operations())) == count and len(set(tests)) == len(tests)
