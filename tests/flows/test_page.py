"""The page as an executive, a CSR and a rep meet it, in Chromium."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import api_client
import pytest
import requests
from api_client import NOON
from call_pipeline import BOOKED, pipeline, process, started  # noqa: F401 (fixtures)
from chromium import browser, expect, look, needs_chromium  # noqa: F401 (a fixture)
from environment import wait_until

pytestmark = needs_chromium
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
EXEC = ["Calls", "To call back", "Leads", "Appointments", "Visits", "Figures"]


class Visitor:
    """Somebody at the page.  What the browser would not let happen is remembered."""

    def __init__(self, browser, daemon, token, viewport=None, place=""):
        self.page = browser.new_context(viewport=viewport or DESK, locale="en-GB", accept_downloads=True).new_page()
        self.page.set_default_timeout(15_000)
        self.complaints = []
        self.page.on("console", self.hears)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{daemon.url}/{place}")
        self.signs_in(token)

    def hears(self, message):
        """What is refused to the role or the token is asked for all the same, and told by the browser."""
        if message.type in ("error", "warning") and not re.search("status of (401|403|422)", message.text):
            self.complaints.append(message.text)

    def signs_in(self, token):
        self.page.get_by_label("Your token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()

    def goes_to(self, view):
        self.page.get_by_role("link", name=view, exact=True).click()
        return self.sees(view)

    def sees(self, title):
        self.page.get_by_role("heading", name=title, level=1).wait_for()
        return self

    def views(self):
        self.page.get_by_role("navigation").get_by_role("link").first.wait_for()
        return self.page.get_by_role("navigation").get_by_role("link").all_inner_texts()

    def rows(self):
        return self.page.locator("main > table > tbody > tr")

    def fact(self, name):
        return self.page.locator("dl > div", has=self.page.locator("dt", has_text=re.compile(f"^{name}$"))).first.locator("dd").inner_text()

    def looks(self, name):
        look(self.page, name)


@pytest.fixture
def company(pipeline):  # noqa: F811
    return api_client.Company(pipeline.database, pipeline.ingest.url, "America/New_York")


@pytest.fixture
def visit(browser, pipeline):  # noqa: F811
    """Somebody with a token opens the page; afterwards nothing was refused or failed in it."""
    visitors = []

    def visit(token, **about):
        visitors.append(Visitor(browser, pipeline.ingest, token, **about))
        return visitors[-1]
    yield visit
    for visitor in visitors:
        visitor.page.context.close()
    assert not [complaint for visitor in visitors for complaint in visitor.complaints]


def test_the_page_has_a_strict_policy_and_nothing_of_anybody(pipeline):  # noqa: F811
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        answer = requests.get(pipeline.ingest.url + path, timeout=30)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_token_that_is_none_is_told(visit, company):
    visitor = visit("sb_wrong")
    visitor.page.get_by_role("alert").get_by_text("token").wait_for()
    visitor.signs_in(company.token("exec"))
    visitor.sees("Calls").page.get_by_text("There are no such calls.").wait_for()
    visitor.page.reload()
    visitor.sees("Calls")                           # the tab knows the token
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.page.reload()
    visitor.sees("Sign in")


@pytest.mark.parametrize("role,views", [("admin", EXEC), ("exec", EXEC), ("csr", [view for view in EXEC if view != "Visits"]), ("rep", EXEC)])
def test_each_role_is_offered_what_it_may_see(visit, company, role, views):
    token = company.user(role)[1].token if role in ("csr", "rep") else company.token(role)
    visitor = visit(token)
    assert visitor.views() == views
    for view in views:
        visitor.goes_to(view)


def test_an_executive_hears_a_call_and_sees_what_came_of_it(visit, pipeline):  # noqa: F811
    """From the webhooks to the page: the words, those that the analysis rests on, the appointment, the message, the sound."""
    acme = pipeline.company()
    call_id = pipeline.call(acme, BOOKED, caller_name="Ana Customer")
    pipeline.delivery(call_id, "read")
    visitor = visit(api_client.Company(pipeline.database, pipeline.ingest.url, tenant=acme.tenant).token("exec"))
    visitor.sees("Calls").page.get_by_role("link", name="Ana Customer").click()
    visitor.sees("Ana Customer")
    analysis = pipeline.row("call_analyses", call_id)
    assert (visitor.fact("Call"), visitor.fact("Booking")) == ("completed", "booked")
    words = visitor.page.locator(".words > li")
    assert [line.split(" ", 1)[1] for line in words.all_inner_texts()] == [text for _, text in BOOKED]
    marked = visitor.page.locator("mark").all_inner_texts()
    assert marked and all(any(said in one["quote"] or one["quote"] in said for one in analysis["evidence"] + analysis["objections"]) for said in marked)
    visitor.page.get_by_role("heading", name="Appointment").wait_for()
    assert acme.rep in visitor.page.locator("section", has_text="Messages").first.inner_text()
    visitor.page.get_by_role("button", name="Listen").click()
    wait_until(lambda: visitor.page.locator("audio").evaluate("audio => audio.currentTime") > 0.2, "the sound")
    visitor.page.locator(".words > li.now").first.wait_for()
    visitor.looks("call")


def test_calls_are_looked_for_and_come_a_page_at_a_time(visit, company):
    for number in range(60):
        call_id = company.call(f"CAL{number:03}{company.tenant}", NOON + timedelta(minutes=number))
        if number == 7:
            company.transcript(call_id, "my chimney is crooked")
            company.analysis(call_id, summary="A chimney.")
    visitor = visit(company.token("exec")).sees("Calls")
    assert visitor.rows().count() == 50 and visitor.page.get_by_text("60 in all").count() == 1
    visitor.page.get_by_role("button", name="Show more").click()
    expect(visitor.rows()).to_have_count(60)
    assert not visitor.page.get_by_role("button", name="Show more").is_visible()
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="Save as CSV").click()
    lines = Path(download.value.path()).read_bytes().decode().strip().split("\r\n")
    assert len(lines) == 61 and len(set(lines)) == 61
    search = visitor.page.get_by_label("Words said")
    search.fill("chimney")
    search.press("Enter")
    visitor.page.get_by_text("1 in all").wait_for()
    assert "A chimney." in visitor.rows().inner_text() and visitor.page.get_by_label("Words said").input_value() == "chimney"
    visitor.page.get_by_label("Words said").fill("nobody says this")
    visitor.page.get_by_label("Words said").press("Enter")
    visitor.page.get_by_text("There are no such calls.").wait_for()
    visitor.page.go_back()
    visitor.page.get_by_text("1 in all").wait_for()


def test_a_csr_calls_back(visit, company):
    first, second = (company.call(status="missed", answered=False, started_at=NOON + timedelta(days=day)) for day in range(2))
    _, csr = company.user("csr")
    visitor = visit(csr.token, place="#/callbacks").sees("To call back")
    assert visitor.rows().count() == 2
    visitor.rows().first.get_by_role("button", name="Called back").click()
    expect(visitor.rows()).to_have_count(1)
    assert [csr.show(call_id)["callback"]["state"] for call_id in (first, second)] == ["open", "done"]


def test_who_decides_corrects_what_a_model_said(visit, company):
    call_id = company.call()
    company.analysis(call_id)
    _, csr = company.user("csr")
    assert not visit(csr.token, place=f"#/calls/{call_id}").sees("number withheld").page.get_by_text("Correct it").is_visible()
    visitor = visit(company.token("exec"), place=f"#/calls/{call_id}").sees("number withheld")
    visitor.page.get_by_text("Correct it").click()
    visitor.page.get_by_label("Booking").select_option("not booked")
    visitor.page.get_by_role("button", name="Save").click()
    visitor.page.get_by_text("booking status by").wait_for()
    shown = csr.show(call_id)["analysis"]
    assert (shown["booking_status"], shown["lead_qualification"], [*shown["corrections"]]) == ("not_booked", "hot", ["booking_status"])


def test_a_visit_whose_recording_failed_says_why(visit, company):
    session_id = company.session(company.appointment(), status="completed", audio_url="https://example.com/a.wav", stopped_at=NOON)
    company.handled(session_id, "transcribe", "visit.recorded", "rejected", "the recording answered 404", received_at=datetime.now(timezone.utc))
    visitor = visit(company.token("exec"), place="#/visits").sees("Visits")
    visitor.rows().get_by_role("link").first.click()
    assert visitor.sees("Visit").fact("Processing") == "failed at transcribe: the recording answered 404"


def test_times_are_those_of_the_company(visit, company):
    company.call("CALnoon" + company.tenant)
    visitor = visit(company.token("exec"), place=f"#/calls/CALnoon{company.tenant}").sees("number withheld")
    assert visitor.fact("When") == "10 Jun 2026, 08:00"     # noon in UTC, in New York


def test_who_sees_all_companies_is_told_whose_each_is(visit, company):
    """Figures are of one company, which is asked for."""
    company.call(started_at=datetime(2025, 2, 3, 12, tzinfo=timezone.utc))
    visitor = visit(company.token("platform"), place="#/calls?from=2025-02-03&to=2025-02-03").sees("Calls")
    assert visitor.views() == EXEC and visitor.page.locator("th").first.inner_text() == "Company"
    visitor.page.locator("td", has_text=company.tenant).first.wait_for()
    visitor.goes_to("Figures").page.get_by_text("Of which company?").wait_for()
    visitor.page.get_by_label("Company").fill(company.tenant)
    visitor.page.get_by_label("Company").press("Enter")
    visitor.page.get_by_label("From").wait_for()
    visitor.page.get_by_label("From").fill("2025-02-01")
    wait_until(lambda: visitor.fact("Calls") == "1", "the figures from another day on")


def test_what_outsiders_say_is_text(visit, company):
    lead_id = company.lead()
    company.database.execute("UPDATE contact_cards SET name = %s WHERE tenant = %s", [MARKUP, company.tenant])
    contact_id, = company.database.execute("SELECT contact_id FROM leads WHERE lead_id = %s", [lead_id]).fetchone().values()
    call_id = company.call(contact_id=contact_id, lead_id=lead_id, customer_name=MARKUP)
    company.transcript(call_id, MARKUP)
    company.analysis(call_id, summary=MARKUP)
    visitor = visit(company.token("exec")).sees("Calls")
    assert MARKUP in visitor.rows().inner_text()
    visitor.page.goto(f"{company.url}/#/calls/{call_id}")
    visitor.page.get_by_role("heading", name="What it meant").wait_for()
    assert MARKUP in visitor.page.locator("h1").inner_text() and MARKUP in visitor.page.locator(".words").inner_text()
    assert "owned" != visitor.page.title()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_figures_are_those_of_the_api(visit, company, viewport):
    user_id, _ = company.user("csr", "Ana Silva")
    for number in range(4):
        call_id = company.call(csr_user_id=user_id, answered=True, started_at=NOON + timedelta(hours=number))
        company.analysis(call_id, booking_status="booked" if number else "not_booked")
    company.call(status="missed", answered=False)
    visitor = visit(company.token("exec"), viewport=viewport, place="#/figures?from=2026-06-01&to=2026-06-30").sees("Figures")
    assert [visitor.fact(name) for name in ("Calls", "Answered", "Missed", "Booked", "Booking rate")] == ["5", "4", "1", "3", "75 %"]
    ana = visitor.page.locator("tbody tr", has_text="Ana Silva")
    assert ana.locator("td").all_inner_texts()[1:5] == ["4", "4", "0", "3"]
    visitor.looks(f"figures-{viewport['width']}")
    for view in EXEC[:-1]:
        visitor.goes_to(view).looks(f"{view}-{viewport['width']}")


def test_a_server_that_is_away_is_said(visit, company):
    visitor = visit(company.token("exec")).sees("Calls")
    visitor.page.context.set_offline(True)
    visitor.page.get_by_role("link", name="Leads", exact=True).click()
    visitor.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    visitor.complaints.clear()                      # the browser tells of the failed request
    visitor.page.context.set_offline(False)
    visitor.page.get_by_role("button", name="Try again").click()
    visitor.sees("Leads")
