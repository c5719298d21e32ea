'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const modules = data.modules;
  const WIDTH_COLORS = { 2: '#7f1d1d', 3: '#c2410c', 4: '#d9a400', 5: '#65a30d', 6: '#0d9488', 8: '#2563eb', 0: '#6b7280' };
  const SCALE = ['#440154', '#3b528b', '#21918c', '#5ec962', '#fde725'];
  const LINES = ['#2563eb', '#c2410c', '#0d9488', '#9333ea', '#d9a400', '#be123c', '#65a30d', '#0891b2', '#6b7280', '#db2777', '#7c3aed', '#a16207'];
  // A browser takes seconds for thousands of rows or options.
  const ROWS = 500, OPTIONS = 300, SUGGESTIONS = 100;
  const TYPING = 150;
  const charts = [];

  // Elements and numbers.
  const element = (name, attributes = {}, ...children) => {
    const e = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => key === 'text' ? (e.textContent = value) : e.setAttribute(key, value));
    e.append(...children);
    return e;
  };
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = v => v === undefined || v === null ? '' : v === 0 ? '0' : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(2) : String(Number(v.toPrecision(4)));
  const percent = v => v === undefined ? '' : number(100 * v) + ' %';
  const bytes = v => {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let i = 0;
    while (v >= 999.5 && i < units.length - 1) { v /= 1000; i++; }
    return Number(v.toPrecision(4)) + ' ' + units[i];
  };
  const width = v => v === 0 ? 'dense' : v + ' bits';
  const sum = (list, f) => list.reduce((s, x) => s + (f(x) || 0), 0);
  const mean = (list, f) => sum(list, m => m.weights * f(m)) / sum(list, m => m.weights);
  const rowName = m => data.rows[m.row];
  const layerName = layer => layer < 0 ? 'outside' : 'layer ' + layer;
  /** Does something once it has not been asked to for so long. */
  const settled = (ms, act) => {
    let waiting = 0;
    return () => { clearTimeout(waiting); waiting = setTimeout(act, ms); };
  };
  // Tooltips are text nodes: names come from the model.
  const lines = text => text.split('\n').reduce((box, line) => { box.append(element('div', { text: line })); return box; }, element('div'));

  // Sections, charts, tables.
  const section = (id, title, about) => {
    const s = element('section', { id, 'aria-labelledby': id + '-title' }, element('h2', { id: id + '-title', text: title }), element('p', { class: 'about', text: about }));
    document.getElementById('main').append(s);
    document.getElementById('sections').append(element('a', { href: '#' + id, text: title }));
    return s;
  };
  /** Gives a table these rows, the first ones at once and the others by a button at its end. */
  const fillRows = (body, columns, items, row) => {
    body.replaceChildren();
    const more = () => {
      const from = body.rows.length;
      body.append(...items.slice(from, from + ROWS).map(row));
      const left = items.length - body.rows.length;
      if (left > 0) {
        const button = element('button', { type: 'button', text: 'Show ' + Math.min(left, ROWS) + ' more of ' + left });
        button.addEventListener('click', () => {
          const at = body.rows.length - 1;
          button.closest('tr').remove();
          more();
          body.rows[at].querySelector('button')?.focus();
        });
        body.append(element('tr', { class: 'more' }, element('td', { class: 'text', colspan: columns }, button)));
      }
    };
    more();
  };
  /** A table of [heading, isText] columns and rows of cells; for those who do not see the chart. */
  const table = (columns, rows) => {
    const body = element('tbody');
    fillRows(body, columns.length, rows, r => element('tr', {}, ...r.map((c, i) => element('td', { class: columns[i][1] ? 'text' : '', text: c }))));
    return element('table', {}, element('thead', {}, element('tr', {}, ...columns.map(([name, text]) => element('th', { scope: 'col', class: text ? 'text' : '', text: name })))), body);
  };
  const numbersOf = (parent, make) => {
    const details = element('details', {}, element('summary', { text: 'The same as a table' }));
    details.addEventListener('toggle', () => {
      if (details.open) { details.querySelector('.scroll')?.remove(); details.append(element('div', { class: 'scroll', tabindex: '0' }, make())); }
    });
    parent.append(details);
    return () => { if (details.open) { details.querySelector('.scroll')?.remove(); details.append(element('div', { class: 'scroll', tabindex: '0' }, make())); } };
  };
  /** A chart that is drawn anew for light, dark and paper, and whose points the arrow keys visit. `describe(index)` is the text of a point. */
  const chart = (parent, id, height, label, option, describe, across = () => 1) => {
    const box = element('div', { class: 'chart', id, tabindex: '0', role: 'img', 'aria-label': label });
    box.style.height = height + 'px';
    parent.append(element('figure', {}, box, element('figcaption', { text: label })));
    const it = { box, label, at: -1, show: null };
    it.draw = () => {
      it.show?.dispose();
      it.show = echarts.init(box, null, { renderer: 'svg' });
      const base = { animation: false, backgroundColor: 'transparent', textStyle: { color: css('--ink'), fontFamily: 'system-ui, sans-serif' } };
      it.show.setOption({ ...base, ...option() });
    };
    it.caption = text => { box.setAttribute('aria-label', text); box.parentElement.querySelector('figcaption').textContent = text; };
    box.addEventListener('keydown', e => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(), ArrowUp: -across() }[e.key];
      if (step === undefined) { return; }
      e.preventDefault();
      const text = describe(it.at + step);
      if (text === undefined) { return; }
      it.at += step;
      it.show.dispatchAction({ type: 'showTip', seriesIndex: 0, dataIndex: it.at });
      document.getElementById('live').textContent = text;
    });
    charts.push(it);
    it.draw();
    return it;
  };
  const axis = extra => ({ nameTextStyle: { color: css('--faint') }, axisLabel: { color: css('--faint') }, axisLine: { lineStyle: { color: css('--line') } }, splitLine: { lineStyle: { color: css('--line') } }, ...extra });
  const tooltip = formatter => ({ trigger: 'item', confine: true, backgroundColor: css('--ground'), borderColor: css('--line'), textStyle: { color: css('--ink') }, formatter: p => lines(formatter(p)) });
  const legend = extra => ({ type: 'scroll', textStyle: { color: css('--ink') }, ...extra });
  const choice = (parent, label, options, change) => {
    const id = parent.id + '-' + label.replace(/\W/g, '');
    const select = element('select', { id }, ...options.map(([value, text]) => element('option', { value, text })));
    select.addEventListener('change', () => change(select.value));
    parent.append(element('div', { class: 'controls' }, element('label', { for: id, text: label }), select));
    return select;
  };
  /** The same for more names than a list can have: a field that suggests those with the text in it. Empty it stands for all. */
  const search = (parent, label, all, names, change) => {
    const id = parent.id + '-' + label.replace(/\W/g, '');
    const known = new Set(names);
    const suggestions = element('datalist', { id: id + '-names' });
    const field = element('input', { id, type: 'search', list: suggestions.id, autocomplete: 'off', placeholder: all, size: 50 });
    const suggest = () => {
      const text = field.value.toLowerCase();
      suggestions.replaceChildren(...names.filter(n => n.toLowerCase().includes(text)).slice(0, SUGGESTIONS).map(n => element('option', { value: n })));
    };
    suggest();
    field.addEventListener('input', settled(TYPING, () => {
      suggest();
      if (field.value === '' || known.has(field.value)) { change(field.value); }
    }));
    parent.append(element('div', { class: 'controls' }, element('label', { for: id, text: label }), field, suggestions));
    return field;
  };

  // Header.
  document.title = 'Model X-ray: ' + data.model + (data.planned ? ', ' + data.summary[0].value : '');
  document.getElementById('title').textContent = document.title;
  document.getElementById('subtitle').textContent = data.layers + ' layers, ' + modules.length + ' modules';
  document.getElementById('version').textContent = 'ram ' + data.version;
  data.summary.forEach(s => document.getElementById('summary').append(element('div', {}, element('dt', { text: s.label }), element('dd', {}, element('div', { class: 'value', text: s.value }), element('div', { class: 'remark', text: s.remark })))));
  data.notes.forEach(n => document.getElementById('notes').append(element('li', { text: n })));

  // Layers by kinds.
  const measures = [
    data.planned && ['bits', 'bits per weight', list => mean(list, m => m.bits), number, false],
    data.planned && ['share', 'share of predicted damage', list => sum(list, m => m.share), percent, true],
    data.measured && ['sensitivity', 'sensitivity (share of the model\u2019s)', list => sum(list, m => m.sensitivity), percent, true],
    data.planned && ['error', 'error in the chosen format (root of relative squared error)', list => Math.sqrt(mean(list, m => m.written ?? m.error)), percent, false],
    data.measured && ['kurtosis', 'excess kurtosis', list => mean(list, m => m.kurtosis), number, true],
  ].filter(Boolean);
  const layers = [...new Set(modules.map(m => m.layer))].sort((a, b) => a - b);
  const cells = new Map();
  modules.forEach(m => {
    const key = m.row * 1e6 + layers.indexOf(m.layer);
    cells.has(key) ? cells.get(key).push(m) : cells.set(key, [m]);
  });
  const grid = [...cells].sort((a, b) => a[0] - b[0]).map(([key, list]) => ({ row: Math.floor(key / 1e6), layer: key % 1e6, list }));
  {
    const s = section('layers', 'Layers and kinds', 'One cell for every kind of module in every layer. Where a cell is empty, the layer has no such module.');
    let measure = measures[0];
    let refresh = () => {};
    choice(s, 'Colour by', measures.map(m => [m[0], m[1]]), v => { measure = measures.find(m => m[0] === v); it.caption(caption()); it.draw(); refresh(); });
    const value = c => measure[2](c.list);
    const text = c => rowName(c.list[0]) + ', ' + layerName(layers[c.layer]) + '\n' + measure[1] + ': ' + measure[3](value(c)) + (data.planned ? '\n' + [...new Set(c.list.map(m => m.format))].join(', ') + ', ' + bytes(sum(c.list, m => m.bytes)) : '')
      + '\n' + c.list.slice(0, 4).map(m => m.path).join('\n') + (c.list.length > 4 ? '\nand ' + (c.list.length - 4) + ' more' : '');
    const place = c => rowName(c.list[0]) + (layers[c.layer] < 0 ? ', outside the layers' : ' of ' + layerName(layers[c.layer])) + ' (' + measure[3](value(c)) + ')';
    const caption = () => {
      const order = [...grid].sort((a, b) => value(b) - value(a));
      return 'Heat map of ' + measure[1] + '; highest in ' + place(order[0]) + ', lowest in ' + place(order.at(-1)) + '.';
    };
    const it = chart(s, 'layers-chart', 90 + 28 * data.rows.length, caption(), () => {
      const shown = grid.map(c => measure[4] ? Math.log10(Math.max(value(c), 1e-12)) : value(c));
      const low = Math.min(...shown), high = Math.max(...shown);
      return {
        grid: { left: 120, right: 20, top: 10, bottom: 75 },
        tooltip: tooltip(p => text(grid[p.dataIndex])),
        xAxis: axis({ type: 'category', name: 'layer', nameLocation: 'middle', nameGap: 28, data: layers.map(l => l < 0 ? '\u2013' : String(l)), splitLine: { show: false } }),
        yAxis: axis({ type: 'category', data: data.rows, inverse: true, splitLine: { show: false } }),
        visualMap: { min: low, max: high > low ? high : low + 1, calculable: false, orient: 'horizontal', left: 'center', bottom: 0, itemWidth: 12, inRange: { color: SCALE }, textStyle: { color: css('--faint') },
          text: [measure[3](measure[4] ? 10 ** high : high), measure[3](measure[4] ? 10 ** low : low)] },
        series: [{ type: 'heatmap', data: grid.map((c, i) => [c.layer, c.row, shown[i]]), itemStyle: { borderColor: css('--card'), borderWidth: 1 } }],
      };
    }, i => grid[i] && text(grid[i]), () => layers.length > 1 ? grid.filter(c => c.row === grid[Math.max(0, it.at)].row).length : 1);
    refresh = numbersOf(s, () => table([['kind', 1], ['layer', 0], [measure[1], 0]], grid.map(c => [rowName(c.list[0]), layers[c.layer] < 0 ? '' : layers[c.layer], measure[3](value(c))])));
  }

  // Experts.
  if (data.experts) {
    const s = section('experts', 'Experts', 'One cell for every expert of every layer, over all its matrices.');
    const e = data.experts;
    const kinds = [['0', 'sensitivity (share of the model\u2019s)', percent, true], ['1', data.planned ? 'error in the chosen format' : 'error in 4 bits, groups of 64', percent, false], ['2', 'largest excess kurtosis', number, true]];
    let kind = kinds[0];
    let refresh = () => {};
    choice(s, 'Colour by', kinds.map(k => [k[0], k[1]]), v => { kind = kinds[Number(v)]; it.caption(caption()); it.draw(); refresh(); });
    const all = e.cells.flatMap((line, l) => line.map((v, x) => ({ l, x, v })));
    const value = c => c.v[Number(kind[0])];
    const text = c => 'layer ' + e.layers[c.l] + ', expert ' + c.x + '\n' + kinds.map(k => k[1] + ': ' + k[2](c.v[Number(k[0])])).join('\n');
    const caption = () => {
      const top = all.reduce((a, b) => value(b) > value(a) ? b : a);
      return 'Map of ' + e.layers.length + ' layers with up to ' + e.experts + ' experts by ' + kind[1] + '; highest in expert ' + top.x + ' of layer ' + e.layers[top.l] + ' (' + kind[2](value(top)) + ').';
    };
    const it = chart(s, 'experts-chart', 110 + Math.max(8, Math.min(24, 600 / e.layers.length)) * e.layers.length, caption(), () => {
      const shown = all.map(c => kind[3] ? Math.log10(Math.max(value(c), 1e-12)) : value(c));
      const low = Math.min(...shown), high = Math.max(...shown);
      return {
        grid: { left: 60, right: 20, top: 10, bottom: 75 },
        tooltip: tooltip(p => text(all[p.dataIndex])),
        xAxis: axis({ type: 'category', name: 'expert', nameLocation: 'middle', nameGap: 28, data: Array.from({ length: e.experts }, (_, i) => String(i)), splitLine: { show: false } }),
        yAxis: axis({ type: 'category', name: 'layer', data: e.layers.map(String), inverse: true, splitLine: { show: false } }),
        visualMap: { min: low, max: high > low ? high : low + 1, orient: 'horizontal', left: 'center', bottom: 0, itemWidth: 12, inRange: { color: SCALE }, textStyle: { color: css('--faint') },
          text: [kind[2](kind[3] ? 10 ** high : high), kind[2](kind[3] ? 10 ** low : low)] },
        series: [{ type: 'heatmap', data: all.map((c, i) => [c.x, c.l, shown[i]]) }],
      };
    }, i => all[i] && text(all[i]), () => e.experts);
    refresh = numbersOf(s, () => table([['layer', 0], ['expert', 0], ...kinds.map(k => [k[1], 0])], all.map(c => [e.layers[c.l], c.x, ...kinds.map(k => k[2](c.v[Number(k[0])]))])));
  }

  // Frontier.
  if (data.frontier) {
    const f = data.frontier;
    const s = section('frontier', 'Frontier', 'The least predicted damage for every size' + (f.nats ? ', in nats per token of KL divergence; right to within a factor of ' + f.trust + ' on small trained models.' : '; it has no unit, because mint minimises something else or the profile has no sensitivities.'));
    const points = f.points.filter((p, i) => p[1] > 0 && (i === 0 || p[0] !== f.points[i - 1][0]));
    const text = p => bytes(p[0]) + ', ' + number(p[2]) + ' bits per weight\npredicted damage ' + number(p[1]);
    const knee = f.knee >= 0 ? f.points[f.knee] : null;
    const label = 'Curve of predicted damage from ' + bytes(points[0][0]) + ' (' + number(points[0][1]) + ') to ' + bytes(points.at(-1)[0]) + ' (' + number(points.at(-1)[1]) + ')'
      + (knee ? ', knee at ' + bytes(knee[0]) : '') + (f.chosen ? '; the plan has ' + bytes(f.chosen[0]) + ' and ' + number(f.chosen[1]) : '') + '.';
    const marks = [knee && ['knee', knee], f.chosen && f.chosen[1] > 0 && ['plan', f.chosen]].filter(Boolean);
    chart(s, 'frontier-chart', 380, label, () => ({
      grid: { left: 80, right: 30, top: 40, bottom: 55 },
      legend: legend({ top: 0 }),
      tooltip: tooltip(p => (p.seriesName === 'frontier' ? '' : p.seriesName + '\n') + text(p.data.point)),
      xAxis: axis({ type: 'value', name: 'size', nameLocation: 'middle', nameGap: 30, scale: true, axisLabel: { color: css('--faint'), formatter: bytes } }),
      yAxis: axis({ type: 'log', name: 'predicted damage', axisLabel: { color: css('--faint'), formatter: number } }),
      series: [{ name: 'frontier', type: 'line', symbolSize: 5, color: css('--accent'), data: points.map(p => ({ value: [p[0], p[1]], point: p })) },
        ...marks.map(([name, p]) => ({ name, type: 'scatter', symbol: name === 'plan' ? 'diamond' : 'triangle', symbolSize: 18, color: name === 'plan' ? css('--mark') : '#9333ea', data: [{ value: [p[0], p[1]], point: p }] }))],
    }), i => points[i] && text(points[i]));
    numbersOf(s, () => table([['size', 0], ['bits per weight', 0], ['predicted damage', 0]], f.points.map(p => [bytes(p[0]), number(p[2]), number(p[1])])));
    if (f.machines.length) {
      s.append(element('p', { class: 'about', text: 'The best plan for a machine of so much memory, with a reserve for the system and the context:' }),
        table([['memory', 0], ['for the weights', 0], ['size', 0], ['predicted damage', 0]], f.machines.map(m => [m[0] + ' GiB', bytes(m[1]), bytes(m[2]), number(m[3])])));
    }
  }

  // Error curves.
  let curveOf = null;
  if (data.measured) {
    const s = section('curves', 'Error curves', 'The error of every format, as the root of the relative squared error, over its stored bits per weight. A module from the table below can be shown alone.');
    const families = list => {
      const byFormat = new Map();
      list.forEach(m => m.curve.forEach(c => {
        const at = byFormat.get(c[0]) ?? { format: c[0], bits: 0, error: 0, weights: 0 };
        at.bits += 8 * c[1]; at.error += c[2] * m.weights; at.weights += m.weights;
        byFormat.set(c[0], at);
      }));
      return [...byFormat.values()].map(p => ({ format: p.format, bits: p.bits / p.weights, error: Math.sqrt(p.error / p.weights) })).filter(p => p.error > 0).sort((a, b) => a.bits - b.bits);
    };
    let scope = '';
    const all = 'every kind', paths = modules.map(m => m.path);
    const select = modules.length <= OPTIONS ? choice(s, 'Show', [['', all], ...paths.map(p => [p, p])], v => curveOf(v)) : search(s, 'Show', all, paths, v => curveOf(v));
    const series = () => scope === ''
      ? data.rows.map((name, r) => ({ name, points: families(modules.filter(m => m.row === r)) })).filter(x => x.points.length)
      : [{ name: scope, points: families(modules.filter(m => m.path === scope)), chosen: modules.find(m => m.path === scope).format }];
    const text = p => p.format + '\n' + number(p.bits) + ' bits per weight\nerror ' + percent(p.error);
    const caption = () => 'Error curves of ' + (scope === '' ? data.rows.length + ' kinds of modules' : scope + (data.planned ? ', which has ' + modules.find(m => m.path === scope).format : '')) + '.';
    const it = chart(s, 'curves-chart', 420, caption(), () => ({
      grid: { left: 80, right: 30, top: 60, bottom: 55 },
      legend: legend({ top: 0 }),
      tooltip: tooltip(p => p.seriesName + '\n' + text(p.data.point)),
      xAxis: axis({ type: 'value', name: 'bits per weight', nameLocation: 'middle', nameGap: 30, scale: true }),
      yAxis: axis({ type: 'log', name: 'error', axisLabel: { color: css('--faint'), formatter: v => percent(v) } }),
      series: series().map((x, i) => ({ name: x.name, type: 'scatter', color: LINES[i % LINES.length], symbol: ['circle', 'rect', 'triangle', 'diamond'][Math.floor(i / 3) % 4],
        data: x.points.map(p => ({ value: [p.bits, p.error], point: p, symbolSize: x.chosen === p.format ? 20 : 9 })) })),
    }), i => { const p = series()[0]?.points[i]; return p && text(p); });
    const refresh = numbersOf(s, () => table([['', 1], ['format', 1], ['bits per weight', 0], ['error', 0]], series().flatMap(x => x.points.map(p => [x.name, p.format, number(p.bits), percent(p.error)]))));
    curveOf = path => { scope = path; select.value = path; it.at = -1; it.caption(caption()); it.draw(); refresh(); };
  }

  // Bytes.
  if (data.planned) {
    const s = section('bytes', 'Where the bytes are', 'The area is the size of a module\u2019s data, the colour the width of its codes.');
    const widths = [...new Set(modules.map(m => m.width))].sort((a, b) => (a || 99) - (b || 99));
    const total = sum(modules, m => m.bytes);
    const byRow = data.rows.map((name, r) => ({ name, list: modules.filter(m => m.row === r) })).filter(g => g.list.length);
    const label = 'Treemap of ' + bytes(total) + ': ' + widths.map(w => width(w) + ' ' + percent(sum(modules.filter(m => m.width === w), m => m.bytes) / total)).join(', ') + '.';
    chart(s, 'bytes-chart', 480, label, () => ({
      tooltip: tooltip(p => p.data.module ? p.data.module.path + '\n' + p.data.module.format + ', ' + bytes(p.data.module.bytes) : p.name + '\n' + bytes(p.value)),
      series: [{ type: 'treemap', roam: false, nodeClick: false, breadcrumb: { show: false }, left: 0, right: 0, top: 0, bottom: 0, visibleMin: 100,
        upperLabel: { show: true, height: 20, color: css('--ink') }, label: { show: true, formatter: p => p.name, overflow: 'truncate' },
        levels: [{ itemStyle: { borderColor: css('--card'), borderWidth: 0, gapWidth: 3 }, upperLabel: { show: false } }, { itemStyle: { borderColor: css('--card'), borderWidth: 2, gapWidth: 1 } }],
        data: byRow.map(g => ({ name: g.name, value: sum(g.list, m => m.bytes), itemStyle: { color: css('--line') },
          children: g.list.map(m => ({ name: m.layer < 0 ? m.path : String(m.layer), value: m.bytes, module: m, itemStyle: { color: WIDTH_COLORS[m.width] ?? '#6b7280' }, label: { color: '#fff' } })) })) }],
    }), i => byRow[i] && byRow[i].name + ': ' + bytes(sum(byRow[i].list, m => m.bytes)));
    const key = element('p', { class: 'about' });
    widths.forEach(w => { const mark = element('span', { text: '\u25a0 ' }); mark.style.color = WIDTH_COLORS[w] ?? '#6b7280'; key.append(mark, width(w) + '\u2003'); });
    s.append(key);
    numbersOf(s, () => table([['kind', 1], ['size', 0], ...widths.map(w => [width(w), 0])], byRow.map(g => [g.name, bytes(sum(g.list, m => m.bytes)), ...widths.map(w => bytes(sum(g.list.filter(m => m.width === w), m => m.bytes)))])));
  }

  // Metrics.
  if (data.distributions) {
    const s = section('metrics', 'Distributions of the metrics', 'Minimum, quartiles and maximum over the matrices of a kind; experts count one by one.');
    let d = data.distributions.find(x => x.metric === 'excess_kurtosis') ?? data.distributions[0];
    let refresh = () => {};
    const select = choice(s, 'Metric', data.distributions.map(x => [x.metric, x.metric.replaceAll('_', ' ')]), v => { d = data.distributions.find(x => x.metric === v); it.at = -1; it.caption(caption()); it.draw(); refresh(); });
    select.value = d.metric;
    const caption = () => d.metric.replaceAll('_', ' ') + ': ' + d.meaning + '. Highest median: ' + (b => data.rows[b[0]] + ' (' + number(b[4]) + ')')(d.boxes.reduce((a, b) => b[4] > a[4] ? b : a)) + '.';
    const text = b => data.rows[b[0]] + ', ' + b[1] + ' matrices\nminimum ' + number(b[2]) + '\nquartiles ' + number(b[3]) + ', ' + number(b[4]) + ', ' + number(b[5]) + '\nmaximum ' + number(b[6]);
    const it = chart(s, 'metrics-chart', 360, caption(), () => ({
      grid: { left: 80, right: 30, top: 20, bottom: 80 },
      tooltip: tooltip(p => text(d.boxes[p.dataIndex])),
      xAxis: axis({ type: 'category', data: d.boxes.map(b => data.rows[b[0]]), axisLabel: { color: css('--faint'), interval: 0, rotate: 35 } }),
      yAxis: axis({ type: 'value', scale: true, axisLabel: { color: css('--faint'), formatter: number } }),
      series: [{ type: 'boxplot', data: d.boxes.map(b => b.slice(2)), itemStyle: { color: css('--card'), borderColor: css('--accent') } }],
    }), i => d.boxes[i] && text(d.boxes[i]));
    refresh = numbersOf(s, () => table([['kind', 1], ['matrices', 0], ['minimum', 0], ['lower quartile', 0], ['median', 0], ['upper quartile', 0], ['maximum', 0]],
      d.boxes.map(b => [data.rows[b[0]], b[1], ...b.slice(2).map(number)])));
  }

  // Evaluation.
  if (data.evaluation) {
    const v = data.evaluation;
    const s = section('evaluation', 'Evaluation', 'Measured on ' + v.predictions + ' predicted token' + (v.predictions === 1 ? '' : 's') + '. Perplexity of all tokens, and mean, median and 10 % trimmed mean over sequences; KL divergence in nats per token'
      + (v.reference ? ' from ' + v.reference : '') + '.');
    s.append(element('div', { class: 'scroll', tabindex: '0' }, table([['model', 1], ['perplexity', 0], ['mean', 0], ['median', 0], ['trimmed mean', 0], ['mean KL', 0], ['\u00b1', 0], ['median KL', 0], ['99th percentile', 0], ['same top token', 0]],
      v.models.map(m => [m.name, number(m.perplexity), number(m.mean), number(m.median), number(m.trimmed), number(m.kl), number(m.kl_error), number(m.median_kl), number(m.p99_kl), percent(m.same_top)]))));
    const compared = v.models.filter(m => m.sequences?.length > 1);
    if (compared.length) {
      chart(s, 'evaluation-chart', 320, 'KL divergence of every sequence: ' + compared.map(m => m.name + ' from ' + number(Math.min(...m.sequences)) + ' to ' + number(Math.max(...m.sequences))).join('; ') + '.', () => ({
        grid: { left: 80, right: 30, top: 40, bottom: 55 }, legend: legend({ top: 0 }),
        tooltip: tooltip(p => p.seriesName + '\nsequence ' + p.data[0] + '\nmean KL ' + number(p.data[1])),
        xAxis: axis({ type: 'value', name: 'sequence', nameLocation: 'middle', nameGap: 30, minInterval: 1 }),
        yAxis: axis({ type: 'value', name: 'mean KL', scale: true, axisLabel: { color: css('--faint'), formatter: number } }),
        series: compared.map((m, i) => ({ name: m.name, type: 'scatter', color: LINES[i % LINES.length], symbolSize: 8, data: m.sequences.map((x, j) => [j, x]) })),
      }), i => compared[0].sequences[i] !== undefined ? 'sequence ' + i + ': ' + number(compared[0].sequences[i]) : undefined);
    }
  }

  // Modules.
  {
    const s = section('modules', 'Modules', 'Sorts by a click on a heading; shows only the modules whose path, kind, format or reason has the text in the field.');
    s.classList.add('long');
    const columns = [
      ['module', m => m.path, String, true], ['kind', rowName, String, true], ['layer', m => m.layer, v => v < 0 ? '' : v], ['shape', m => m.weights, (v, m) => m.shape],
      ...(data.planned ? [['format', m => m.format, String, true], ['bits/weight', m => m.bits, number], ['size', m => m.bytes, bytes], ['error', m => Math.sqrt(m.written ?? m.error), percent], ['damage', m => m.damage, number], ['share', m => m.share, percent]] : []),
      ...(data.measured ? [['sensitivity', m => m.sensitivity, percent], ['kurtosis', m => m.kurtosis, number]] : []),
      ...(modules.some(m => m.refined !== undefined) ? [['left by refinement', m => m.refined, percent]] : []),
      ...(data.planned ? [['why', m => m.why + (m.reason ? ': ' + m.reason : ''), String, true]] : []),
    ];
    const filter = element('input', { id: 'filter', type: 'search', autocomplete: 'off' });
    const count = element('span', { role: 'status' });
    s.append(element('div', { class: 'controls' }, element('label', { for: 'filter', text: 'Filter' }), filter, count));
    const body = element('tbody');
    const heads = columns.map(([name, , , text], i) => {
      const button = element('button', { type: 'button', text: name });
      button.addEventListener('click', () => { down = by === i ? !down : !text; by = i; fill(); });
      return element('th', { scope: 'col', class: text ? 'text' : '' }, button);
    });
    let by = -1, down = false;
    const texts = new Map(modules.map(m => [m, (m.path + ' ' + rowName(m) + ' ' + (m.format ?? '') + ' ' + (m.why ?? '') + ' ' + (m.reason ?? '')).toLowerCase()]));
    const order = new Intl.Collator('en', { numeric: true });
    const fill = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const shown = modules.filter(m => words.every(w => texts.get(m).includes(w)));
      if (by >= 0) {
        const key = columns[by][1];
        const compare = (a, b) => typeof a === 'number' ? a - b : order.compare(String(a), String(b));
        shown.sort((a, b) => (down ? -1 : 1) * compare(key(a) ?? -1, key(b) ?? -1));
      }
      heads.forEach((h, i) => i === by ? h.setAttribute('aria-sort', down ? 'descending' : 'ascending') : h.removeAttribute('aria-sort'));
      count.textContent = shown.length + ' of ' + modules.length + ' modules';
      fillRows(body, columns.length, shown, m => element('tr', {}, ...columns.map(([name, key, show, text]) => {
        if (name === 'module' && curveOf) {
          const button = element('button', { type: 'button', text: m.path, title: 'Show its error curve' });
          button.addEventListener('click', () => { curveOf(m.path); document.getElementById('curves').scrollIntoView(); });
          return element('td', { class: 'text' }, button);
        }
        return element('td', { class: text ? 'text' : '', text: show(key(m), m) });
      })));
    };
    filter.addEventListener('input', settled(TYPING, fill));
    s.append(element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table of modules' }, element('table', {}, element('thead', {}, element('tr', {}, ...heads)), body)));
    fill();
  }

  const redraw = () => charts.forEach(c => c.draw());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  matchMedia('print').addEventListener('change', redraw);
  addEventListener('resize', settled(100, () => charts.forEach(c => c.show.resize())));
  document.body.dataset.ready = 'true';
})();
