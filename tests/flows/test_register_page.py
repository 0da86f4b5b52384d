"""/register as a person meets it: in Chromium, on a small phone, with scripts switched off, by keyboard, in the dark and from
right to left.  With PAGE_SHOTS=folder a picture of each state is left there, to be looked at."""

import uuid

import pytest
from chromium import browser, look, needs_chromium  # noqa: F401 (a fixture)
from coach_door import Person, get, settings
from daemons import Daemon
from environment import wait_until

PHONE = {"width": 360, "height": 740}
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 5
COMPANY = "Vereinigte Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft mbH"
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def company(database):
    name = "page-" + uuid.uuid4().hex[:8]
    database.execute("INSERT INTO companies (tenant, name, default_region) VALUES (%s, %s, 'DE')", (name, COMPANY))
    return name


@pytest.fixture(scope="module")
def ingest(schema_ready, company, tmp_path_factory):
    one = Daemon("ingest", schema_ready, tmp_path_factory.mktemp("page"), **settings(company)).ready()
    wait_until(lambda: get(one, company).status_code == 200, "the company being known")
    yield one
    one.stop()


class Phone:
    """A page in a browser without scripts; what it would not let happen and what it could not load is remembered."""

    def __init__(self, browser, url, **options):
        # the tests look at the page with scripts of their own, which "java_script_enabled" does not forbid
        self.context = browser.new_context(viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True,
                                           java_script_enabled=False, **options)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def enter(self, name="", email="", phone=""):
        for field, value in (("Your name", name), ("E-mail", email), ("WhatsApp number", phone)):
            self.page.get_by_label(field).fill(value)
        self.goes_on(self.page.get_by_role("button", name="Register").tap)
        return self

    def goes_on(self, action):
        """Does what sends the form, and waits for the answer."""
        with self.page.expect_navigation():
            action()

    def look(self, name):
        look(self.page, name)

    def focused(self):
        return self.page.evaluate("document.activeElement.id || document.activeElement.tagName.toLowerCase()")

    def close(self):
        self.context.close()


@pytest.fixture
def phone(browser, ingest, company):
    opened = []

    def open_page(**options):
        opened.append(Phone(browser, f"{ingest.url}/register/{company}", **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_registering_on_a_phone(phone, scheme, topics):
    person = Person()
    seen = phone(color_scheme=scheme)
    seen.look(f"form-{scheme}")
    seen.enter(person.name, person.email, "12")
    assert seen.page.get_by_text("This cannot be a phone number.").is_visible()
    assert seen.focused() == "phone", "the first wrong field"
    seen.look(f"error-{scheme}")
    seen.page.get_by_label("WhatsApp number").fill(person.phone)
    seen.goes_on(lambda: seen.page.keyboard.press("Enter"))
    assert seen.page.get_by_role("heading", name=f"You are registered, {person.name}").is_visible()
    assert seen.page.get_by_text(person.phone).is_visible()
    seen.look(f"done-{scheme}")
    assert topics.wait("meetings", person.email, type="salesperson.registered")
    assert [said for said in seen.complaints if "status of 422" not in said] == [], "the policy lets the page have what it needs"
    assert {url.split("?")[0] for url in seen.requests if "favicon" not in url} == {seen.page.url}, "nothing else is asked for"


def test_everything_is_wrong(phone):
    seen = phone().enter()
    assert seen.page.locator(".error").count() == 3 and seen.focused() == "name"
    assert seen.page.title().startswith("Error")
    seen.look("errors")
    for name in ("name", "email", "phone"):
        described = seen.page.locator(f"#{name}").get_attribute("aria-describedby").split()
        error, field = (seen.page.locator(f"#{one}").bounding_box() for one in (described[0], name))
        assert 0 <= field["y"] - error["y"] - error["height"] < 16, "the error stands beside its field"


@pytest.mark.parametrize("name", ["محمد عبد الرحمن بن خالد", "יוסי כהן־לוי"])
def test_names_from_right_to_left(phone, name):
    person = Person()
    seen = phone(color_scheme="dark" if name.startswith("י") else "light").enter(name, person.email, "1")
    field = seen.page.get_by_label("Your name")
    assert field.evaluate("field => getComputedStyle(field).direction") == "rtl"
    assert seen.page.get_by_label("WhatsApp number").evaluate("field => getComputedStyle(field).direction") == "ltr"
    seen.look("rtl-name-" + ("dark" if name.startswith("י") else "light"))
    seen.enter(name, person.email, person.phone)
    assert seen.page.get_by_role("heading", name=name).is_visible()
    seen.look("rtl-done-" + ("dark" if name.startswith("י") else "light"))


def test_the_page_from_right_to_left(phone):
    """As a browser that translates it shows it."""
    seen = phone().enter("", "", "12")
    seen.page.evaluate("document.documentElement.dir = 'rtl'")
    seen.look("rtl-page")
    box = seen.page.locator("header svg").bounding_box()
    assert box["x"] > PHONE["width"] / 2, "the sign stands on the other side"


def test_long_names_wrap(phone):
    person = Person()
    email = "a" * 60 + "@" + "seller." * 5 + "example"
    seen = phone().enter(LONG, email, "12")
    seen.look("long-error")
    seen.enter(LONG, email, person.phone)
    assert seen.page.get_by_role("heading", name=LONG).is_visible()
    seen.look("long-done")


def test_by_keyboard_and_with_large_targets(phone):
    seen = phone()
    stops = []
    for _ in range(4):
        seen.page.keyboard.press("Tab")
        stops.append(seen.focused())
    assert stops == ["name", "email", "phone", "button"]
    for locator in (*[seen.page.locator(f"#{name}") for name in ("name", "email", "phone")], seen.page.get_by_role("button")):
        box = locator.bounding_box()
        assert box["height"] >= 48 and box["width"] >= 280
    assert float(seen.page.locator("#name").evaluate("field => getComputedStyle(field).fontSize").removesuffix("px")) >= 16, "smaller ones make phones zoom"


CONTRAST = """() => {
    const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
    const behind = one => { while (one && /^rgba?\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(one).backgroundColor)) one = one.parentElement
        return getComputedStyle(one).backgroundColor }
    const low = []
    for (const one of document.querySelectorAll('p, label, h1, li, button, b, span, a, input, bdi')) {
        const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x)
        const ratio = (a + 0.05) / (b + 0.05)
        if (ratio < 4.5) low.push(`${one.tagName} ${one.className} ${ratio.toFixed(2)}`)
    }
    return low
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(phone, scheme):
    """WCAG 2.2, 1.4.3: text has a contrast of 4.5 to 1."""
    person = Person()
    seen = phone(color_scheme=scheme)
    assert seen.page.evaluate(CONTRAST) == []
    seen.enter("", person.email, "12")
    assert seen.page.evaluate(CONTRAST) == []
    seen.enter(person.name, person.email, person.phone)
    assert seen.page.evaluate(CONTRAST) == []


def test_an_address_that_is_none(browser, ingest):
    seen = Phone(browser, ingest.url + "/register/nobody")
    assert seen.page.get_by_role("heading", name="There is no page here").is_visible()
    seen.look("absent")
    seen.close()
