// Uses a report of more modules than are shown at once, and leaves what it found in the page.
(async () => {
  const found = { failures: [] };
  const check = (holds, what) => { if (!holds) { found.failures.push(what); } };
  const wait = ms => new Promise(r => setTimeout(r, ms));
  const type = async (field, text) => {
    field.value = text;
    field.dispatchEvent(new Event('input'));
    await wait(300);
  };
  try {
    check(document.body.dataset.ready === 'true', 'the script did not reach its end');
    const modules = JSON.parse(document.getElementById('data').textContent).modules;
    const rows = () => [...document.querySelectorAll('#modules tbody tr:not(.more)')];
    const more = () => document.querySelector('#modules tr.more button');
    const head = name => [...document.querySelectorAll('#modules th button')].find(b => b.textContent === name);
    check(rows().length === 500 && more().textContent === 'Show 500 more of ' + (modules.length - 500), 'the table begins with ' + rows().length + ' rows');
    let pieces = 1;
    for (; more() && pieces < 100; pieces++) { more().click(); }
    check(pieces === Math.ceil(modules.length / 500) && JSON.stringify(rows().map(r => r.children[0].textContent)) === JSON.stringify(modules.map(m => m.path)), 'not every module is shown');
    head('module').click();
    check(rows().length === 500 && rows()[0].textContent.includes(modules.map(m => m.path).sort(new Intl.Collator('en', { numeric: true }).compare)[0]), 'the first rows are not those of all modules');
    const filter = document.getElementById('filter');
    const last = modules.at(-1).path;
    await type(filter, last);
    check(rows().length === 1 && !more(), 'the filter leaves ' + rows().length + ' rows');
    rows()[0].querySelector('button').click();
    const field = document.getElementById('curves-Show');
    const label = () => document.getElementById('curves-chart').getAttribute('aria-label');
    check(field.tagName === 'INPUT' && field.value === last && label().includes(last), 'a click on a module does not show its curve');
    await type(filter, '');
    check(rows().length === 500, 'without the filter there are ' + rows().length + ' rows');
    await type(field, '');
    check(label().includes('kinds of modules'), 'an empty field does not stand for all');
    await type(field, 'nothing of this name');
    check(label().includes('kinds of modules') && !field.list.options.length, 'an unknown name changes something');
    await type(field, 'down_proj');
    check(field.list.options.length > 0 && field.list.options.length <= 100 && [...field.list.options].every(o => o.value.includes('down_proj')), 'the field suggests ' + field.list.options.length);
    await type(field, modules[0].path);
    check(label().includes(modules[0].path), 'the field does not show a curve');
  } catch (e) {
    found.failures.push(String(e.stack ?? e));
  }
  const out = document.createElement('pre');
  out.id = 'found';
  out.textContent = JSON.stringify(found);
  document.body.append(out);
})();
