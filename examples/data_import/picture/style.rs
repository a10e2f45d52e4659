/// Light, and dark where the reader's system is.
pub(super) const SHEET: &str = "
text { font-family: -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #1f2328; }
.card { fill: #ffffff; stroke: #d1d9e0; }
.title { font-size: 19px; font-weight: 600; }
.subtitle { font-size: 13px; fill: #59636e; }
.name { font-size: 14px; font-weight: 600; }
.label { font-size: 12px; fill: #59636e; }
.tick { font-size: 11px; fill: #59636e; text-anchor: middle; }
.end { font-size: 12px; fill: #1a7f37; }
.bad, .end.bad { fill: #cf222e; }
.grid { stroke: #d1d9e0; stroke-width: 1; stroke-dasharray: 2 4; }
.separator { stroke: #d1d9e0; stroke-width: 1; }
.outage { fill: #d4a72c; fill-opacity: 0.28; }
.outage-name { font-size: 9.5px; fill: #7d4e00; text-anchor: middle; }
.area { fill: #54aeff; fill-opacity: 0.28; }
.line { fill: none; stroke: #0969da; stroke-width: 1.6; stroke-linejoin: round; }
.edge { fill: #0969da; }
.odd { fill: #1a7f37; }
.even { fill: #6fdd8b; }
.rotation { stroke: #8250df; stroke-width: 1.4; }
.head { fill: #8250df; }
.rejection { fill: #cf222e; }
.mark { stroke: #1a7f37; stroke-width: 1.4; }
.mark.bad { stroke: #cf222e; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.card { fill: #0d1117; stroke: #3d444d; }
.subtitle, .label, .tick { fill: #9198a1; }
.end { fill: #3fb950; }
.bad, .end.bad { fill: #f85149; }
.grid, .separator { stroke: #3d444d; }
.outage { fill: #bb8009; fill-opacity: 0.35; }
.outage-name { fill: #d29922; }
.area { fill: #388bfd; fill-opacity: 0.3; }
.line { stroke: #58a6ff; }
.edge { fill: #58a6ff; }
.odd { fill: #2ea043; }
.even { fill: #196c2e; }
.rotation { stroke: #bc8cff; }
.head { fill: #bc8cff; }
.rejection { fill: #f85149; }
.mark { stroke: #3fb950; }
.mark.bad { stroke: #f85149; }
}
";
