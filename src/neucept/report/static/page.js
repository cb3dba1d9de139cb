(() => {
  "use strict";

  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = read("chart-config");
  const pictures = read("pictures");
  const COARSE = 16; // pictures up to this many pixels are shown as crisp squares

  // Everything a sample or a class is called enters the page as text, never as markup.
  const make = (tag, name, text) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const crisp = (image) => {
    const mark = () => image.classList.toggle("coarse", image.naturalWidth <= COARSE);
    if (image.complete) mark();
    else image.addEventListener("load", mark, { once: true });
  };

  const card = make("div", "hover");
  card.setAttribute("role", "status");
  card.hidden = true;
  document.body.append(card);

  const fill = (fields) => {
    card.replaceChildren();
    const stored = fields.picture === undefined ? undefined : pictures[fields.picture];
    if (stored !== undefined) {
      const image = make("img");
      image.alt = "";
      image.src = "data:image/webp;base64," + stored;
      crisp(image);
      card.append(image);
    }
    const list = make("dl");
    for (const [name, value] of Object.entries(fields)) {
      if (name === "picture") continue;
      list.append(make("dt", "", name), make("dd", "", String(value)));
    }
    card.append(list);
  };

  const moveTo = (x, y) => {
    const gap = 14;
    const room = document.documentElement.clientWidth;
    const { width, height } = card.getBoundingClientRect();
    const left = x + gap + width > room ? x - gap - width : x + gap;
    const top = y + gap + height > window.innerHeight ? y - gap - height : y + gap;
    card.style.left = Math.max(4, Math.min(left, room - width - 4)) + "px";
    card.style.top = Math.max(4, top) + "px";
  };

  let shownAt = 0;
  const hide = () => { card.hidden = true; };

  const hover = (_, event, __, value) => {
    if (value === null || value === undefined || value === "" || typeof value !== "object") {
      hide();
      return;
    }
    fill(value);
    card.hidden = false;
    shownAt = window.scrollY;
    moveTo(event.clientX, event.clientY);
  };

  // On the map the arrow keys go from point to point and show what the pointer would.
  const walkable = (plot) => {
    const points = Array.from(plot.querySelectorAll(".mark-symbol.role-mark path"));
    let at = -1;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !points.length) return;
      event.preventDefault();
      if (at >= 0) points[at].classList.remove("here");
      at = (at + step + points.length) % points.length;
      const point = points[at];
      point.classList.add("here");
      const box = point.getBoundingClientRect();
      const clientX = box.x + box.width / 2;
      const clientY = box.y + box.height / 2;
      hover(null, { clientX, clientY }, null, point.__data__.tooltip);
    });
    plot.addEventListener("blur", () => {
      if (at >= 0) points[at].classList.remove("here");
      hide();
    });
  };

  const draw = async (plot) => {
    const spec = JSON.parse(plot.nextElementSibling.textContent);
    try {
      await window.vegaEmbed(plot, spec, {
        mode: "vega-lite", renderer: "svg", actions: false, config, tooltip: hover,
      });
      plot.dataset.drawn = "yes";
      if (plot.tabIndex === 0) walkable(plot);
    } catch (error) {
      plot.replaceChildren(make("p", "note", "This chart could not be drawn: " + error.message));
      plot.dataset.drawn = "failed";
      console.error(error);
    }
  };

  const start = async () => {
    document.querySelectorAll("img").forEach(crisp);
    // One after the other, so that the page stays usable while it draws.
    for (const plot of document.querySelectorAll(".plot")) await draw(plot);
    document.documentElement.dataset.drawn = "yes";
  };

  // A scroll that ended before the card came up is still reported after it.
  const scrolled = () => { if (Math.abs(window.scrollY - shownAt) > 8) hide(); };
  window.addEventListener("scroll", scrolled, { passive: true });
  start();
})();
