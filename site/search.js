"use strict";
// What is found in a page's text leads to the section that has it, not to the top of the page.
// conf.py writes SECTIONS: page to [id, title, text]. Sphinx's search begins after this.
_ready(() => {
  const count = (text, term) => text.split(term).length - 1;
  const rate = (text, terms) => terms.reduce(         // each word weighs more than its repetition
    (sum, term) => sum + Math.min(count(text, term), 99) + (text.includes(term) ? 1000 : 0), 0);

  const search = Search.performTermsSearch;
  Search.performTermsSearch = (terms, excluded) => search(terms, excluded).map(result => {
    const [page, title, , ...rest] = result;
    const rated = (SECTIONS[page] ?? []).map(section => [rate(section[2], [...terms]), section]);
    const [best, [id, name]] = rated.reduce((one, other) => other[0] > one[0] ? other : one,
                                            [0, []]);
    return best && name !== title ? [page, `${title} > ${name}`, `#${id}`, ...rest] : result;
  });
});
