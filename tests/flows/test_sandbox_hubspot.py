"""The sandbox's HubSpot: contacts and notes, what it refuses, how it limits, and that a search comes late to what is new."""

import pytest
import requests
from sandbox_process import KEYS, WAIT_S
from sandbox_process import process, sandbox  # noqa: F401 (fixtures)
from environment import wait_until

TOKEN = KEYS["HUBSPOT_ACCESS_TOKEN"]
V3 = "/crm/v3/objects"
READ = "crm.objects.contacts.read"


def ask(sandbox, method, path, body=None, token=TOKEN, **query):
    return requests.request(method, f"{sandbox.url}/hubspot{path}", json=body, params=query, timeout=WAIT_S,
                            headers={"Authorization": f"Bearer {token}"})


def contact(sandbox, **properties):
    return sandbox.control("POST", "/hubspot/contacts", json=properties)["id"]


def search(sandbox, email, token=TOKEN):
    body = {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ", "value": email}]}], "properties": ["email"], "limit": 2}
    return ask(sandbox, "POST", V3 + "/contacts/search", body, token)


def note_on(contact_id, body="How it went", kind=202, **properties):
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind}]
    return {"properties": {"hs_timestamp": "2026-11-26T10:00:00Z", "hs_note_body": body, **properties},
            "associations": [{"to": {"id": contact_id}, "types": types}]}


def test_a_search_comes_late_to_what_is_new_and_an_address_does_not(sandbox):
    sandbox.control("PUT", "/hubspot/settings", json={"index_lag_ms": 300})
    contact_id = contact(sandbox, email="Ada@Example.test", hs_additional_emails="ada@home.test")
    assert search(sandbox, "ada@example.test").json() == {"total": 0, "results": []}
    for address in ("ada@example.test", "ADA@home.test"):
        assert ask(sandbox, "GET", f"{V3}/contacts/{address}", idProperty="email").json()["id"] == contact_id
    found = wait_until(lambda: (answer := search(sandbox, "ada@example.test").json())["total"] and answer, "the index", pause_s=0.3)
    assert found["results"][0]["properties"]["email"] == "ada@example.test"
    assert search(sandbox, "Ada@Example.test").json()["total"] == 0, "addresses are kept in lower case"
    assert search(sandbox, "ada@home.test").json()["total"] == 0, "and only the first is searched"


def test_a_contact_that_was_merged_is_the_other_one_and_a_deleted_one_is_not_there(sandbox):
    first, second = contact(sandbox, email="a@x.test"), contact(sandbox, email="b@x.test")
    requests.delete(f"{sandbox.url}/_sandbox/hubspot/contacts/{first}", params={"into": second}, timeout=WAIT_S)
    assert ask(sandbox, "GET", f"{V3}/contacts/{first}").json()["id"] == second
    sandbox.control("DELETE", f"/hubspot/contacts/{second}")
    for contact_id in (first, second, "none"):
        answer = ask(sandbox, "GET", f"{V3}/contacts/{contact_id}")
        assert (answer.status_code, answer.json()["category"]) == (404, "OBJECT_NOT_FOUND")


@pytest.mark.parametrize("crm", [V3, "/crm/objects/2026-03"])
def test_a_note_is_written_found_changed_and_archived(sandbox, crm):
    contact_id = contact(sandbox, email="ada@example.test")
    note_id = ask(sandbox, "POST", crm + "/notes", note_on(contact_id)).json()["id"]
    listed = ask(sandbox, "GET", f"{crm.replace('v3', 'v4')}/contacts/{contact_id}/associations/notes").json()
    assert [one["toObjectId"] for one in listed["results"]] == [int(note_id)]
    wanted = {"properties": ["hs_note_body"], "inputs": [{"id": note_id}, {"id": "1"}]}
    read = ask(sandbox, "POST", crm + "/notes/batch/read", wanted)
    assert read.status_code == 207 and read.json()["errors"][0]["context"]["ids"] == ["1"]
    assert [one["properties"]["hs_note_body"] for one in read.json()["results"]] == ["How it went"]
    changed = ask(sandbox, "PATCH", f"{crm}/notes/{note_id}", {"properties": {"hs_note_body": "Well"}}).json()
    assert changed["properties"]["hs_note_body"] == "Well"
    assert ask(sandbox, "DELETE", f"{crm}/notes/{note_id}").status_code == 204
    assert ask(sandbox, "GET", f"{crm}/notes/{note_id}").status_code == 404
    assert sandbox.control("GET", "/hubspot/notes")["notes"] == []


def test_the_list_of_notes_has_pages(sandbox):
    contact_id = contact(sandbox, email="ada@example.test")
    ids = [int(ask(sandbox, "POST", V3 + "/notes", note_on(contact_id)).json()["id"]) for _ in range(3)]
    path, found, after = f"/crm/v4/objects/contacts/{contact_id}/associations/notes", [], None
    while True:
        answer = ask(sandbox, "GET", path, limit=2, **({"after": after} if after else {})).json()
        found += [one["toObjectId"] for one in answer["results"]]
        after = answer.get("paging", {}).get("next", {}).get("after")
        if not after:
            break
    assert found == ids


@pytest.mark.parametrize("change, status", [
    ({"properties": {"hs_note_body": "x"}}, 400),
    ({"properties": {"hs_timestamp": "yesterday"}}, 400),
    ({"properties": {"hs_timestamp": "2026-11-26T10:00:00Z", "hs_note_body": "x" * 65_537}}, 400),
    ({"properties": {"hs_timestamp": "1795687200000", "hs_note_bdy": "x"}}, 400),
    ({"propertis": {}}, 400),
    ({"associations": [{"to": {"id": "1"}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}]}, 404),
    ({"properties": {"hs_timestamp": "1795687200000", "hs_note_body": "x" * 65_536}}, 201),
])
def test_it_refuses_what_is_no_note(sandbox, change, status):
    answer = ask(sandbox, "POST", V3 + "/notes", {**note_on(contact(sandbox, email="a@x.test")), **change})
    assert answer.status_code == status, answer.text
    assert status == 201 or answer.json()["correlationId"]


def test_it_refuses_an_association_that_is_none(sandbox):
    answer = ask(sandbox, "POST", V3 + "/notes", note_on(contact(sandbox, email="a@x.test"), kind=214))
    assert (answer.status_code, answer.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("token, status, category", [
    ({"scopes": []}, 403, "MISSING_SCOPES"),
    ({"kind": "private_app", "scopes": [READ]}, 200, None),
    ({"kind": "oauth", "scopes": [READ], "expires_at": "2020-01-01T00:00:00Z"}, 401, "EXPIRED_AUTHENTICATION"),
    (None, 401, "INVALID_AUTHENTICATION"),
])
def test_it_knows_its_tokens_and_what_they_may(sandbox, token, status, category):
    contact_id = contact(sandbox, email="a@x.test")
    if token:
        sandbox.control("PUT", "/hubspot/tokens/another", json=token)
    answer = ask(sandbox, "GET", f"{V3}/contacts/{contact_id}", token="another")
    assert (answer.status_code, answer.json().get("category")) == (status, category)
    if status == 200:
        assert ask(sandbox, "POST", V3 + "/notes", note_on(contact_id), "another").json()["category"] == "MISSING_SCOPES"


@pytest.mark.parametrize("shape, named", [("policy", {"errorType": "RATE_LIMIT"}), ("category", {"category": "RATE_LIMITS"})])
@pytest.mark.parametrize("limit, policy, asked", [({"searches_per_s": 2}, "SECONDLY", "search"), ({"burst_max": 2}, "TEN_SECONDLY_ROLLING", "get"),
                                                  ({"daily_max": 2}, "DAILY", "get")])
def test_it_limits_in_both_shapes(sandbox, shape, named, limit, policy, asked):
    sandbox.control("PUT", "/hubspot/settings", json={"error_shape": shape, **limit})
    contact_id = contact(sandbox, email="a@x.test")
    answers = [search(sandbox, "a@x.test") if asked == "search" else ask(sandbox, "GET", f"{V3}/contacts/{contact_id}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[2].json()
    assert refused["policyName"] == policy and named.items() <= refused.items() and "Retry-After" not in answers[2].headers
    assert ("X-HubSpot-RateLimit-Remaining" in answers[0].headers) == (asked == "get"), "a search tells of no limit"


def test_it_misbehaves_in_its_own_shape(sandbox):
    sandbox.fault(provider="hubspot", what="status", status=502)
    answer = search(sandbox, "a@x.test")
    assert answer.status_code == 502 and answer.json()["status"] == "error"


