"""The course site as a reader meets it: rendered, served as plain files, opened in Chromium."""

import functools
import http.server
import re
import threading
import time
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag

import nbformat
import pytest

import pages
import run
from course_lib.check.lessons import LESSONS

pytestmark = pytest.mark.slow

# A lesson of what the others may not have: formulas, a fold, a code line and a table too wide for
# a phone, a link to a lesson that was not run, a picture from the web, an exercise as a heading.
ODDS = [nbformat.v4.new_markdown_cell(text) for text in (
    "# 99 · Odds and ends\n\n**After this you can** read everything.\n\n"
    "[![Badge](https://example.org/badge.svg)](https://example.org) [98 · No](98_no.ipynb)",
    r"Inline $\mathrm{DSC} = \frac{2\,|P \cap T|}{|P| + |T|}$, and on its own:" "\n\n"
    r"$$\begin{aligned} L &= -\sum_{i=1}^{N} t_i \log \hat p_i \\ "
    r"\sigma(x) &= \begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases} \end{aligned}$$",
    "<details>\n<summary>Solution</summary>\n\nThe *hidden* answer.\n\n```python\nx = 1\n```\n\n"
    "</details>",
    "## The second section\n\nHere alone stands the word platypus.\n\n"
    "### Exercise 1 · Count to one\n\nAnd here: wombats, wombats.")]
WIDE = {"text/html": "<table><tr>" + "<td>a wide cell of a table</td>" * 30 + "</tr></table>"}
FACTS = """async () => {
  for (const picture of document.images) picture.loading = "eager";
  await Promise.all([...document.images].map(picture => picture.decode().catch(() => {})));
  if (window.MathJax) await window.MathJax.startup.promise;
  const prose = document.body.cloneNode(true);
  prose.querySelectorAll("pre, code, script, style").forEach(element => element.remove());
  const wide = [document.scrollingElement, document.querySelector(".content")];
  const cut = element => element.scrollWidth > element.clientWidth + 1;
  const seen = [...document.images].filter(picture => picture.checkVisibility());

  // Contrast of each text with the colours behind it, as WCAG 2.2 defines it.
  const parse = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
                          return [r, g, b, a]; };
  const over = (front, back) => [0, 1, 2].map(
    i => front[i] * front[3] + back[i] * (1 - front[3]));
  const ground = element => {
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(
      own, element.parentElement ? ground(element.parentElement) : [255, 255, 255]); };
  const linear = part => part <= 10.31 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => (
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05);
  const pale = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const back = ground(element), front = over(parse(getComputedStyle(element).color), back);
    const [dark, bright] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    if (bright / dark < 4.5) pale.add(`${text.slice(0, 30)}: ${(bright / dark).toFixed(1)}`);
  }
  return {
    title: document.title, prose: prose.textContent, html: document.documentElement.outerHTML,
    links: [...document.links].map(link => link.href),
    ids: [...document.querySelectorAll("[id]")].map(element => element.id),
    pictures: [...document.images].map(picture => ({
      source: picture.src, alt: picture.getAttribute("alt"), pixels: picture.naturalWidth})),
    seen: seen.map(picture => [picture.alt, picture.getBoundingClientRect().width]),
    formulas: [...document.querySelectorAll("mjx-container > svg")].map(
      formula => formula.getBoundingClientRect().height),
    misread: [...document.querySelectorAll("[data-mjx-error]")].map(
      formula => formula.getAttribute("data-mjx-error")),
    cut: [...document.querySelectorAll("pre, p, li, figcaption, summary, h1, h2, h3")].filter(
      cut).map(element => element.textContent.slice(0, 60)), pale: [...pale],
    overhang: Math.max(...wide.map(element => element.scrollWidth - element.clientWidth))}}"""
# Width and colours in which each page is opened.
LOOKS = ((1200, "light"), (390, "light"), (1440, "dark"))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """All lessons and the odds, run in tiny, and the site made of them."""
    output = tmp_path_factory.mktemp("course")
    lessons = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_PROFILE", "tiny")
        patch.setenv("COURSE_RUNS", str(output / "runs"))
        for lesson in run.choose([]):
            start = time.perf_counter()
            error = run.execute(run.NOTEBOOKS / f"{lesson.stem}.ipynb", output)
            assert error is None, error
            lessons[lesson.stem] = {"seconds": time.perf_counter() - start, "error": None}
    wide = nbformat.v4.new_code_cell("x = '" + 300 * "x" + "'", outputs=[
        nbformat.v4.new_output("display_data", WIDE)])
    nbformat.write(nbformat.v4.new_notebook(
        cells=[*ODDS, wide], metadata={"language_info": {"name": "python"}}),
        output / "99_odds.ipynb")
    pages.write_record(output, {"plan": {"profile": "tiny"}, "date": "2000-01-01",
                                "lessons": lessons, "finished": True})
    return output


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain file server that does not print each request."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(course):
    """The site's folder, and its address on a plain file server."""
    start = time.perf_counter()
    folder = pages.build(course, strict=True).parent
    print(f"rendered in {time.perf_counter() - start:.0f} s")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                             functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(folder=folder, address=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


@pytest.fixture(scope="module")
def opened(site, browser):
    """Each page at desk and at phone width: what is on it, and what went wrong meanwhile."""
    found = {}
    for width, colours in LOOKS:
        for path in sorted(site.folder.rglob("*.html")):
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=colours)
            wrong, asked = [], []
            page.on("console", lambda said, wrong=wrong: wrong.append(said.text)
                    if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            name = path.relative_to(site.folder).as_posix()
            page.goto(f"{site.address}/{name}", wait_until="networkidle")
            found[name, width] = SimpleNamespace(wrong=wrong, asked=asked, **page.evaluate(FACTS))
            page.close()
    return found


def each(opened, problems) -> dict:
    """Pages with problems, and these."""
    found = {where: list(problems(page)) for where, page in opened.items()}
    return {where: told for where, told in found.items() if told}


def test_these_tests_see_pale_and_cut_text(browser):
    page = browser.new_page()
    for grey, pale in (("#777777", ["grey: 4.5"]), ("#767676", [])):    # 4.48 and 4.54
        page.set_content(f'<div class="content" style="background:#fff"><p style="color:{grey}">'
                         'grey</p><pre style="width:5em;overflow:auto">x = 1234567890</pre>'
                         "<pre>x = 1</pre></div>")
        found = page.evaluate(FACTS)
        assert found["pale"] == pale and found["cut"] == ["x = 1234567890"]
    page.close()


def test_every_page_opens_without_errors(opened):
    names = {name for name, _ in opened}
    assert {"index.html", "00_start_here.html", "03_brain_mri.html", "pictures.html",
            "search.html", "reference/metrics.html"} <= names
    assert each(opened, lambda page: page.wrong) == {}


def test_nothing_is_asked_of_the_web(site, opened):
    assert each(opened, lambda page: [url for url in page.asked if not url.startswith(
        (site.address, "data:"))]) == {}


def test_links_hold(site, opened):
    ids = {name: set(page.ids) for (name, _), page in opened.items()}

    def broken(page):
        for link in {link for link in page.links if link.startswith(site.address)}:
            url, mark = urldefrag(link)
            name = unquote(url.removeprefix(f"{site.address}/")).partition("?")[0] or "index.html"
            if not (site.folder / name).is_file() or mark and unquote(mark) not in ids[name]:
                yield link

    assert each(opened, broken) == {}
    assert f"{site.address}/03_brain_mri.html" in opened["00_start_here.html", 390].links


def test_pictures_load_and_are_described(opened):
    assert each(opened, lambda page: [picture for picture in page.pictures
                                      if not picture["pixels"] or not picture["alt"]]) == {}
    sources = [picture["source"] for picture in opened["pictures.html", 390].pictures]
    assert sum(source.endswith(".gif") for source in sources) >= 2
    assert len(opened["03_brain_mri.html", 390].pictures) >= 7


def test_no_page_needs_scrolling_sideways(opened):
    assert {where: page.overhang for where, page in opened.items() if page.overhang > 0} == {}


def test_no_code_and_no_text_is_cut_off(opened):
    assert each(opened, lambda page: page.cut) == {}


def test_all_text_has_contrast_in_light_and_dark(opened):
    assert each(opened, lambda page: page.pale) == {}
    doctor = opened["00_start_here.html", 1440].html
    assert re.search(r"color:#\w{6};background:#\w{6};[^>]*>OK<", doctor)


def test_sheets_come_in_pieces_on_a_phone_and_whole_on_a_desk(opened):
    for width, several in ((390, True), (1200, False)):
        parts = [sides for alt, sides in opened["01_look_at_the_data.html", width].seen
                 if "(Part " in alt]
        assert bool(parts) == several and all(100 < sides <= 390 for sides in parts), parts


def test_the_front_page_and_the_first_lesson_show_a_picture(opened):
    for name in ("index.html", "00_start_here.html"):
        alt, width = opened[name, 1200].seen[0]
        assert "outlined" in alt and width > 500


def test_patients_stand_side_by_side_with_their_dsc(opened):
    page = opened["pictures.html", 390]
    assert len(re.findall(r"TWIN_\S+ · DSC 0\.\d{3}", page.prose)) >= 2
    gifs = [width for alt, width in page.seen if alt.startswith("All slices")]
    assert len(gifs) >= 2 and max(gifs) < 200                          # two fit beside each other


def test_formulas_are_drawn(opened):
    raw = re.compile(r"\$[^$\n]+\$|\\(?:\(|\[|frac|sum|begin|mathrm)")
    assert each(opened, lambda page: raw.findall(page.prose)) == {}
    assert each(opened, lambda page: page.misread) == {}
    inline, block = opened["99_odds.html", 390].formulas
    assert 15 < inline < 60 < block < 250                       # pixels: drawn, and not overgrown


def test_nothing_on_a_page_waits_for_a_kernel(opened):
    waiting = re.compile(r"jupyter\.widget|require(\.min)?\.js|tensorboard-frame|<iframe")
    assert each(opened, lambda page: waiting.findall(page.html)) == {}
    assert "TensorBoard runs here while the notebook does" in opened["03_brain_mri.html", 390].prose


def test_a_lesson_that_was_not_run_is_no_link(opened):
    page = opened["99_odds.html", 390]
    assert "98 · No" in page.prose and not any("98_no" in link for link in page.links)


def test_the_map_names_each_lesson_with_its_minutes(opened):
    front = opened["index.html", 390]
    for lesson in LESSONS:
        assert f"{lesson.number} · {lesson.title}" in front.prose
        assert f"{lesson.minutes['tiny']:g} / {lesson.minutes['cpu']:g}" in front.prose
    assert any(link.endswith("/00_start_here.html") for link in front.links)


def test_the_reference_says_what_docstrings_say(opened):
    page = opened["reference/metrics.html", 390]
    assert "Compute the Dice similarity coefficient of two masks, 2·|P ∩ T| / (|P| + |T|)" in (
        page.prose)
    assert "course_lib.metrics.dsc" in page.ids and "course_lib.data.SliceDataset" in (
        opened["reference/data.html", 390].ids)


def test_search_finds_dice_and_not_what_is_not_there(site, browser):
    page = browser.new_page()
    for word, there in (("Dice", True), ("nonsensicalword", False)):
        page.goto(f"{site.address}/index.html")
        page.locator("input[name=q]").first.fill(word)
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('#search-results .search-summary')"
                               "?.textContent.match(/found|did not match/)")
        found = page.locator("#search-results ul.search li a").all_text_contents()
        assert bool(found) == there, found
        if there:
            assert any("Start here" in title for title in found)
    page.close()


@pytest.mark.parametrize(("word", "section"), [
    ("platypus", "the-second-section"), ("wombat", "exercise-1-count-to-one")])
def test_what_is_found_leads_to_its_section(site, browser, word, section):
    page = browser.new_page(viewport={"width": 1200, "height": 500})
    for root in (site.address, site.folder.as_uri()):              # also opened as plain files
        page.goto(f"{root}/search.html?q={word}")
        page.locator("#search-results ul.search li a").first.click()
        page.wait_for_url(f"**/99_odds.html#{section}")
        heading = page.locator(f"#{section} > :is(h2, h3)")
        heading.wait_for()
        assert 0 <= heading.bounding_box()["y"] < 500               # not far below the top
    page.close()


def test_exercises_are_headings_with_anchors(opened):
    page = opened["99_odds.html", 1440]
    assert "exercise-1-count-to-one" in page.ids
    assert any(link.endswith("#exercise-1-count-to-one") for link in page.links)


def test_a_fold_opens(site, browser):
    page = browser.new_page()
    page.goto(f"{site.address}/99_odds.html")
    hidden = page.get_by_text("The hidden answer.")
    assert not hidden.is_visible()
    page.get_by_text("Solution").click()
    assert hidden.is_visible()
    page.close()


def test_the_site_is_small(site):
    size = sum(path.stat().st_size for path in site.folder.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB")
    assert 1e6 < size < 30e6
