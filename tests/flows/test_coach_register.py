"""Who registers with the sales coach: the page as HTML, what is wrong with what was entered, JSON, and what is kept of it.

The door and the recorder are one daemon here, from outside: HTTP in, rows and events out."""

import re
from html.parser import HTMLParser

import pytest
import requests
from coach_door import MAILBOX, get, phones, register, register_json, registered, settings, user
from coach_door import company, ingest, person  # noqa: F401 (fixtures)

# --- the page, as a browser reads it


class Page(HTMLParser):
    """Checks that elements are closed in order, and finds fields, texts and what describes what."""

    VOID = {"meta", "input", "br", "link", "path"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.inputs, self.labels, self.by_id, self.elements, self.text = [], {}, {}, {}, [], ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"{tag} has an attribute twice"
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append((tag, attributes))
        if "id" in attributes:
            assert attributes["id"] not in self.by_id, f"the id {attributes['id']} twice"
            self.by_id[attributes["id"]] = ""
        if tag == "input":
            self.inputs[attributes["name"]] = attributes
        if tag == "label":
            self.labels[attributes["for"]] = ""

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if any(tag == "style" for tag, _ in self.open):
            return
        self.text += data
        for tag, attributes in self.open:
            if "id" in attributes:
                self.by_id[attributes["id"]] += data
            if tag == "label":
                self.labels[attributes["for"]] += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def described(self, field):
        """What a screen reader says of a field, beside its label."""
        return [self.by_id[name] for name in self.inputs[field].get("aria-describedby", "").split()]

    def errors(self):
        return {name: self.described(name)[0] for name, field in self.inputs.items() if field.get("aria-invalid") == "true"}


def test_the_form_is_one_that_everybody_can_use(ingest, company):
    answer = get(ingest, company)
    page = Page(answer.text)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.of("html") == [{"lang": "en"}] and "width=device-width" in answer.text
    assert page.labels == {"name": "Your name", "email": "E-mail", "phone": "WhatsApp number"}
    assert {name: field["autocomplete"] for name, field in page.inputs.items()} == {"name": "name", "email": "email", "phone": "tel"}
    assert [page.inputs[name]["inputmode"] for name in ("email", "phone")] == ["email", "tel"]
    assert page.described("phone") == ["With the country code, like +1\xa0202\xa0555\xa00100."]
    assert page.inputs["name"]["dir"] == "auto"
    assert page.errors() == {} and not page.of("script") and not page.of("link")
    assert page.of("form") == [{"method": "post", "novalidate": None}], "it is sent to where it came from"
    assert "Ärzte & <Söhne>" in page.text


def test_nothing_but_the_page_itself_may_be_loaded(ingest):
    answer = get(ingest)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy and "http" not in policy
    assert "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
    assert not re.search(r"(src|href)=\"(?!\?)", answer.text) and "url(" not in answer.text and " style=" not in answer.text
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")


def test_a_salesperson_registers_and_is_told_what_happens_next(ingest, company, topics, database, person):
    answer = register(ingest, person.entered(email=f"  {person.email.upper()} ", phone="(030) 901 8200", name=" Ana\tMuñoz "), company)
    page = Page(answer.text)
    assert answer.status_code == 200, answer.text
    assert "You are registered, Ana Muñoz" in page.text and "+49309018200" in page.text and MAILBOX in page.text
    event, = registered(topics, person.email)
    assert event["tenant"] == company and event["correlationid"] == person.email
    assert event["data"] == {"email": person.email, "user_id": event["data"]["user_id"], "name": "Ana Muñoz", "phone": "+49309018200",
                             "first": True, "phone_is_new": True}
    assert user(database, company, person.email) == ("Ana Muñoz", "+49309018200", "rep", event["data"]["user_id"])
    assert phones(database, company, person.email) == ["+49309018200"]
    inbound, = topics.find("inbound.registrations", person.email)
    assert inbound["data"]["tenant"] == company and inbound["data"]["phone"] == "+49309018200"


def test_the_default_company_is_that_of_the_bare_address(ingest, company, topics, person):
    assert register(ingest, person.entered()).status_code == 200
    assert registered(topics, person.email)[0]["tenant"] == company


#   what is entered, and which fields are wrong
WRONG = {
    "nothing": ({"name": "", "email": "", "phone": ""}, {"name", "email", "phone"}),
    "no fields": ({}, {"name", "email", "phone"}),
    "blanks": ({"name": "  ", "email": "\t", "phone": " "}, {"name", "email", "phone"}),
    "a number that is none": ({"phone": "12"}, {"phone"}),
    "a number too short for its country": ({"phone": "+1 555"}, {"phone"}),
    "a word": ({"phone": "call me"}, {"phone"}),
    "a huge number": ({"phone": "+" + "9" * 60}, {"phone"}),
    "an address without a host": ({"email": "ana@"}, {"email"}),
    "an address without a domain": ({"email": "ana@localhost"}, {"email"}),
    "two addresses": ({"email": "a@b.example, c@d.example"}, {"email"}),
    "a name that is too long": ({"name": "ä" * 201}, {"name"}),
    "markup": ({"name": "\"><script>alert(1)</script>", "phone": "<b>'1'</b>"}, {"phone"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_beside_the_field_and_what_was_entered_is_kept(ingest, company, topics, person, case):
    entered, wrong = WRONG[case]
    entered = person.entered(**entered) if entered else {}
    answer = register(ingest, entered, company)
    page = Page(answer.text)
    assert answer.status_code == 422
    assert set(page.errors()) == wrong
    assert all(len(text) > 10 for text in page.errors().values())
    assert {name: field["value"] for name, field in page.inputs.items()} == {name: entered.get(name, "") for name in page.inputs}
    focused = [name for name, field in page.inputs.items() if "autofocus" in field]
    assert focused == [next(name for name in page.inputs if name in wrong)], "the first wrong one"
    assert not page.of("script") and not page.of("b")[1:]
    assert page.of("p")[1:] and any(element.get("role") == "alert" for element in page.of("p"))
    assert not topics.find("inbound.registrations", person.email)


@pytest.mark.parametrize("name", ["Ana", "O'Brien & <Sons>", "محمد عبد الله", "יוסי כהן", "王小明", "ä" * 200, "a" * 200, "👩🏽‍💼 Zoë"])
def test_names_come_through_as_they_were_written(ingest, company, topics, person, name):
    answer = register(ingest, person.entered(name=name), company)
    assert f"You are registered, {name}" in Page(answer.text).text
    assert registered(topics, person.email)[0]["data"]["name"] == name


def test_registering_again_changes_name_and_number(ingest, company, topics, database, person):
    register(ingest, person.entered(), company)
    registered(topics, person.email)
    database.execute("UPDATE users SET role = 'exec' WHERE tenant = %s AND email = %s", (company, person.email))
    before = user(database, company, person.email)
    register(ingest, person.entered(name="Ana M.", phone="+49 30 9018210"), company)
    first, second = registered(topics, person.email, 2)
    assert (first["data"]["first"], second["data"]["first"], second["data"]["phone_is_new"]) == (True, False, True)
    assert (first["data"].get("replaces"), second["data"]["replaces"]) == (None, person.phone)
    assert user(database, company, person.email) == ("Ana M.", "+49309018210", "exec", before[3]), "the role stays"
    assert phones(database, company, person.email) == [person.phone, "+49309018210"], "both are theirs"


def test_sending_the_same_again_is_one_event(ingest, company, topics, person):
    answers = [register(ingest, person.entered(), company) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    register(ingest, person.entered(name="Another"), company)
    registered(topics, person.email, 2)
    assert len(topics.find("meetings", person.email, type="salesperson.registered")) in (2, 3), "three when a minute began meanwhile"


def test_somebody_who_was_added_by_hand_registers_for_the_first_time(ingest, company, topics, database, person):
    database.execute("INSERT INTO users (tenant, email, user_id, name, role) VALUES (%s, %s, %s, 'A.', 'csr')", (company, person.email, "user-" + person.email))
    register(ingest, person.entered(), company)
    assert registered(topics, person.email)[0]["data"]["first"] is True
    assert user(database, company, person.email) == (person.name, person.phone, "csr", "user-" + person.email)


def test_json_is_taken_too(ingest, company, topics, person):
    answer = register_json(ingest, person.entered(phone="030 9018200"), company)
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    assert answer.json() == {"tenant": company, "name": person.name, "email": person.email, "phone": "+49309018200"}
    assert registered(topics, person.email)[0]["data"]["phone"] == "+49309018200"


@pytest.mark.parametrize("body,pointer", [
    ({"phone": "12"}, "/phone"), ({"email": "x"}, "/email"), ({"email": "a@b"}, "/email"), ({"name": ""}, "/name"), ({"name": 7}, "/name"),
    ({"role": "admin"}, "/role"), ({"phone": None}, "/phone"), ('{"name":"A","email":"a@b.example"}', "/phone"), ("[]", None), ("{", None),
    ('{"name":"A","name":"B","email":"a@b.example","phone":"+12025550100"}', "/name"),
])
def test_json_that_is_wrong_is_a_problem_with_its_place(ingest, company, person, body, pointer):
    answer = register_json(ingest, person.entered(**body) if isinstance(body, dict) else body, company)
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json"), answer.text
    assert problem.get("pointer") == pointer and problem["status"] == 422 and problem["detail"]


def test_what_is_neither_form_nor_json_or_too_large(ingest, company):
    assert requests.post(ingest.url + "/register", data=b"x", headers={"Content-Type": "text/plain"}, timeout=10).status_code == 415
    assert requests.post(ingest.url + "/register", data=b"x", timeout=10).status_code == 415
    assert register(ingest, {"name": "x" * 20_000}).status_code == 413
    broken = requests.post(ingest.url + "/register", data=b"name=%zz", headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=10)
    assert broken.status_code == 422 and "could not be read" in Page(broken.text).text


def test_a_company_that_is_not_there(ingest, person):
    for name in ("nobody", "unassigned", "x" * 200, "..%2f"):
        for answer in (get(ingest, name), register(ingest, person.entered(), name)):
            assert answer.status_code == 404 and "address" in Page(answer.text).text, name
        assert register_json(ingest, person.entered(), name).json()["status"] == 404


def test_another_sites_form_is_refused(ingest, company, topics, person):
    answer = register(ingest, person.entered(), company, **{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
    assert answer.status_code == 403 and Page(answer.text).inputs["email"]["value"] == ""
    assert "Access-Control-Allow-Origin" not in register_json(ingest, person.entered(), company).headers
    assert register(ingest, person.entered(), company, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_without_a_default_company_the_page_says_what_to_do(daemon, person):
    ingest = daemon("ingest").ready()
    answer = get(ingest)
    assert answer.status_code == 404 and "name of your company" in Page(answer.text).text
    assert register_json(ingest, person.entered()).status_code == 404


def test_one_address_may_register_so_often(daemon, company):
    """The address is that for which a proxy on this machine forwards; the last one, since whoever asks may write the others."""
    ingest = daemon("ingest", **settings(company)).ready()
    entered, crowd = {"name": "A", "phone": "12", "email": "x@y"}, {"X-Forwarded-For": "10.1.1.1, 203.0.113.9"}
    answers = [register(ingest, entered, company, **crowd)]
    while answers[-1].status_code == 422 and len(answers) < 120:
        answers.append(register(ingest, entered, company, **crowd))
    assert [answer.status_code for answer in answers[:60]] == [422] * 60, "as many as a team has people"
    refused = answers[-1]
    assert refused.status_code == 429 and 1 <= int(refused.headers["Retry-After"]) <= 10
    assert Page(refused.text).inputs["email"]["value"] == "x@y", "what was entered is not lost"
    assert register_json(ingest, entered, company, **crowd).status_code == 429
    assert register(ingest, entered, company, **{"X-Forwarded-For": "203.0.113.9, 10.1.1.1"}).status_code == 422, "another address"
    assert get(ingest, company, **crowd).status_code == 200


def test_it_is_kept_before_it_is_promised(daemon, company, schema_ready, topics, person):
    if not schema_ready.kafka:
        pytest.skip("Kafka is not ours to freeze: TEST_KAFKA_BROKERS is set")
    spooling, keeping_nothing = daemon("ingest", **settings(company)).ready(), daemon("ingest", SPOOL="off", **settings(company)).ready()
    schema_ready.kafka.freeze()
    try:
        answer = register(keeping_nothing, person.entered(name="<not lost>"), company)
        assert answer.status_code == 503 and answer.headers["Retry-After"]
        assert [Page(answer.text).inputs[name]["value"] for name in ("name", "email")] == ["<not lost>", person.email]
        assert register_json(keeping_nothing, person.entered(), company).status_code == 503
        assert register(spooling, person.entered(), company).status_code == 200
    finally:
        schema_ready.kafka.thaw()
    assert registered(topics, person.email)[0]["data"]["name"] in (person.name, "<not lost>")
