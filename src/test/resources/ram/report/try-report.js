// Uses a report as a person would, and leaves what it found in the page.
(async () => {
  const found = { charts: [], failures: [] };
  const check = (holds, what) => { if (!holds) { found.failures.push(what); } };
  const wait = ms => new Promise(r => setTimeout(r, ms));
  try {
    check(document.body.dataset.ready === 'true', 'the script did not reach its end');
    for (const chart of document.querySelectorAll('.chart')) {
      chart.scrollIntoView();
      await wait(50);
      const shown = () => [...chart.querySelectorAll('div')].filter(d => d.style.position === 'absolute' && d.style.visibility !== 'hidden' && d.style.opacity !== '0' && d.textContent).map(d => d.textContent).join(' ');
      check(chart.querySelectorAll('svg path, svg rect').length > 3, chart.id + ' has no marks');
      check(chart.getAttribute('aria-label').length > 20 && chart.tabIndex === 0, chart.id + ' has no text');
      chart.focus();
      chart.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
      await wait(50);
      check(document.getElementById('live').textContent.length > 3, chart.id + ' says nothing on arrow keys');
      check(shown().length > 3, chart.id + ' has no tooltip by keyboard');
      chart.dispatchEvent(new MouseEvent('mouseout', { bubbles: true }));
      found.charts.push(chart.id);
    }
    // The mouse, at the middle of the first cell of the heat map.
    const heat = document.getElementById('layers-chart');
    heat.scrollIntoView();
    await wait(50);
    const cell = [...heat.querySelectorAll('svg path')].map(p => p.getBoundingClientRect()).filter(b => b.width > 15 && b.height > 15 && b.width < 400)[0];
    const target = heat.querySelector('svg').parentElement;
    for (const type of ['mouseover', 'mousemove']) {
      target.dispatchEvent(new MouseEvent(type, { clientX: cell.x + cell.width / 2, clientY: cell.y + cell.height / 2, bubbles: true, view: window }));
    }
    await wait(300);
    check(/layer|outside/.test([...heat.querySelectorAll('div')].map(d => d.textContent).join(' ')), 'the mouse shows no tooltip');
    // Every choice of every list draws without an error.
    for (const select of document.querySelectorAll('select')) {
      for (const option of [...select.options].slice(0, 15)) {
        select.value = option.value;
        select.dispatchEvent(new Event('change'));
      }
    }
    for (const details of document.querySelectorAll('details')) {
      details.open = true;
      await wait(20);
      check(details.querySelectorAll('td').length > 1, details.closest('section').id + ' has no table');
    }
    // The table sorts and filters.
    const rows = () => [...document.querySelectorAll('#modules tbody tr')];
    const all = rows().length;
    const head = [...document.querySelectorAll('#modules th button')].find(b => b.textContent === 'kurtosis' || b.textContent === 'size');
    const column = [...document.querySelectorAll('#modules th button')].indexOf(head);
    head.click();
    const value = r => { const [n, unit] = r.children[column].textContent.split(' '); return Number(n) * ({ kB: 1e3, MB: 1e6, GB: 1e9 }[unit] ?? 1); };
    const values = rows().map(value);
    check(values.every((v, i) => i === 0 || values[i - 1] >= v * 0.999), 'the table is not sorted');
    check(head.parentElement.getAttribute('aria-sort') === 'descending', 'the order is not said');
    const filter = document.getElementById('filter');
    filter.value = 'down_proj layers.1';
    filter.dispatchEvent(new Event('input'));
    await wait(300);
    check(rows().length > 0 && rows().length < all && rows().every(r => r.textContent.includes('down_proj')), 'the table is not filtered');
    rows()[0].querySelector('button')?.click();
    check(!window.hacked, 'text of the model was run');
  } catch (e) {
    found.failures.push(String(e.stack ?? e));
  }
  const out = document.createElement('pre');
  out.id = 'found';
  out.textContent = JSON.stringify(found);
  document.body.append(out);
})();
