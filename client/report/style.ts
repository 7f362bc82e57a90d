/** The page's own style: light and dark by the reader's choice, and plain on paper. Nothing is fetched. */
export const style = `
:root { color-scheme: light dark;
  --ink: light-dark(#1c2430, #e6e9ef); --soft: light-dark(#5c6675, #9aa4b2); --line: light-dark(#dfe3ea, #303845);
  --page: light-dark(#ffffff, #12161c); --card: light-dark(#f5f7fa, #1a2029); --accent: light-dark(#2457c5, #84aaff);
  --raw: light-dark(#b6c8f0, #35486f); --rate: light-dark(#0c7d74, #54c7ba); --good: light-dark(#1b7a3d, #6ccf8e);
  --bad: light-dark(#b3261e, #ff938a); --warn: light-dark(#8f5a00, #f0b858); --good-card: light-dark(#e8f5ec, #17301f);
  --bad-card: light-dark(#fdecea, #3a1a18); --warn-card: light-dark(#fdf3e0, #35280f); }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, "PingFang TC", "Microsoft JhengHei", "Noto Sans CJK TC", "Noto Sans TC", "Source Han Sans TC", "WenQuanYi Micro Hei", sans-serif; }
:lang(zh-Hans) { font-family: system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", sans-serif; }
:lang(zh-Hant) { font-family: system-ui, "PingFang TC", "Microsoft JhengHei", "Noto Sans CJK TC", "Noto Sans TC", "WenQuanYi Micro Hei", sans-serif; }
:lang(ja) { font-family: system-ui, "Hiragino Sans", "Yu Gothic", "Noto Sans CJK JP", sans-serif; }
:lang(ko) { font-family: system-ui, "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans CJK KR", sans-serif; }
main, header, footer { max-width: 960px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; }
h1 { font-size: 34px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 23px; margin: 56px 0 6px; padding-top: 16px; border-top: 1px solid var(--line); }
h3 { font-size: 17px; margin: 28px 0 6px; }
p { margin: 8px 0; max-width: 74ch; }
a { color: var(--accent); }
.soft, .hint { color: var(--soft); }
.hint { font-size: 14px; }
.eyebrow { color: var(--soft); font-size: 14px; margin: 0 0 4px; }
.lead { font-size: 18px; margin: 10px 0 0; }
.title { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; }
.badge { display: inline-block; font-size: 13px; font-weight: 600; padding: 2px 10px; border-radius: 999px; white-space: nowrap; background: var(--card); color: var(--soft); }
.badge.good { background: var(--good-card); color: var(--good); }
.badge.bad { background: var(--bad-card); color: var(--bad); }
.badge.warn { background: var(--warn-card); color: var(--warn); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; margin: 26px 0 0; padding: 0; }
.cards > div { background: var(--card); border-radius: 10px; padding: 14px 16px; }
.cards dt { font-size: 14px; color: var(--soft); }
.cards dd { margin: 2px 0 0; font-size: 26px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.cards dd small { display: block; font-size: 14px; font-weight: 400; color: var(--soft); }
nav { margin-top: 22px; font-size: 15px; display: flex; flex-wrap: wrap; gap: 4px 18px; }
.box { border-radius: 10px; padding: 12px 16px; margin: 20px 0 0; background: var(--card); }
.box.bad { background: var(--bad-card); } .box.warn { background: var(--warn-card); }
.box ul { margin: 6px 0; padding-left: 20px; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-size: 15px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } th .hint, th [lang] { font-weight: 400; } thead th { color: var(--soft); font-size: 13px; white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.chart { width: 200px; min-width: 120px; vertical-align: middle; }
tr.right td:last-child, .right { color: var(--good); } .wrong { color: var(--bad); } .verdict { white-space: nowrap; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK TC", monospace; }
code.digest { overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: 10px; padding: 14px 16px; overflow-x: auto; margin: 10px 0; }
figure { margin: 14px 0; } figcaption { font-size: 14px; color: var(--soft); margin-top: 4px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg.bar { height: 12px; } svg.band { height: 20px; max-width: 200px; }
svg text { paint-order: stroke; stroke: var(--page); stroke-width: 3px; stroke-linejoin: round; fill: var(--ink); font-size: 13px; font-family: inherit; }
svg .tick, svg .axis, svg .grid text, svg .soft { fill: var(--soft); font-size: 12px; }
svg .label { font-weight: 600; } svg .label.soft { font-weight: 400; }
.grid line { stroke: var(--line); } .base { stroke: var(--soft); stroke-opacity: 0.5; }
.raw { fill: none; stroke: var(--raw); stroke-width: 1.2; } .series { fill: none; stroke: var(--accent); stroke-width: 2.4; stroke-linejoin: round; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 10px 24px; margin: 14px 0; }
.extremes { fill: var(--raw); fill-opacity: 0.35; stroke: none; } .held-out { fill: none; stroke: var(--warn); stroke-width: 2; } .held-out-dot { fill: var(--warn); stroke: var(--page); stroke-width: 1; }
.rival { fill: none; stroke: var(--rate); stroke-width: 2.4; stroke-linejoin: round; } .rival.raw-rival { stroke-width: 1; stroke-opacity: 0.4; }
.rate { fill: none; stroke: var(--rate); stroke-width: 2; } .end { fill: var(--accent); }
.planned { stroke: var(--soft); stroke-dasharray: 5 4; } .checkpoint { fill: var(--soft); }
.mark line { stroke: var(--warn); stroke-width: 1.2; stroke-dasharray: 2 3; } .mark text { fill: var(--warn); font-weight: 600; font-size: 12px; }
.mark.lost line { stroke: var(--bad); } .mark.lost text { fill: var(--bad); }
.rest { fill: var(--line); fill-opacity: 0.6; } .kept, .span { fill: var(--accent); } .span.reused { fill: var(--rate); } .span.failed { fill: var(--bad); }
.read { fill: var(--raw); } .duplicates { fill: var(--rate); } .left-out { fill: var(--warn); } .unread { fill: var(--bad); }
svg.fate { height: 34px; border-radius: 8px; overflow: hidden; } pre.card { white-space: pre-wrap; }
.dropped { fill: var(--warn); } .score { fill: var(--accent); } .column { fill: var(--accent); }
.planned-band { fill: var(--raw); } .found { fill: var(--accent); stroke: var(--page); stroke-width: 1.5; } .found.worse { fill: var(--bad); } .found.better { fill: var(--good); }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--accent); font-size: 15px; }
details > .scroll, details > pre { margin-top: 8px; } details .scroll.tall { max-height: 420px; overflow-y: auto; }
ol.marks { padding-left: 24px; margin: 10px 0; font-size: 15px; } ol.marks li::marker { font-weight: 600; color: var(--warn); } ol.marks li.lost::marker { color: var(--bad); }
.sample { border-left: 3px solid var(--line); padding: 2px 0 2px 12px; margin: 10px 0; font-size: 14px; }
.sample p { margin: 2px 0; overflow-wrap: anywhere; }
.dots { display: inline-flex; gap: 16px; flex-wrap: wrap; font-size: 13px; color: var(--soft); }
.dots i.block { width: 12px; height: 12px; } .dots i.read { background: var(--raw); } .dots i.kept { background: var(--accent); } .dots i.duplicates { background: var(--rate); } .dots i.left-out { background: var(--warn); } .dots i.unread { background: var(--bad); }
.dots i { display: inline-block; width: 14px; height: 3px; vertical-align: middle; margin-right: 6px; border-radius: 2px; }
footer { margin-top: 60px; padding-bottom: 40px; color: var(--soft); font-size: 14px; }
footer > p { border-top: 1px solid var(--line); padding-top: 16px; max-width: none; }
@media (max-width: 600px) { h1 { font-size: 27px; } td.chart { min-width: 80px; } .cards dd { font-size: 22px; } }
@media print {
  :root { color-scheme: light; } body { font-size: 11pt; } main, header, footer { max-width: none; padding: 0; } header { padding-top: 0; } nav { display: none; }
  h2 { margin-top: 28px; break-after: avoid; } h3 { break-after: avoid; } figure, .cards > div, .sample, tr { break-inside: avoid; }
  .scroll, details .scroll.tall { overflow: visible; max-height: none; } pre { white-space: pre-wrap; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } details::details-content { content-visibility: visible; height: auto; }
}
`;
