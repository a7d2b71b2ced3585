// Cross-hair and values under the pointer, on every plot of a stack at once.
const rows = JSON.parse(document.getElementById("rows").textContent);
const times = rows.t_s;
const two = (n) => String(n).padStart(2, "0");
const clock = (t) => `${Math.floor(t / 3600)}:${two(Math.floor(t / 60) % 60)}:${two(Math.floor(t) % 60)}`;

function nearest(t) {
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < t) low = middle + 1; else high = middle;
  }
  return low > 0 && t - times[low - 1] < times[low] - t ? low - 1 : low;
}

for (const stack of document.querySelectorAll(".stack")) {
  const plot = stack.querySelector(".plot");
  const start = +stack.dataset.start, end = +stack.dataset.end;
  const when = stack.querySelector(".when");
  const values = stack.querySelectorAll("b[data-k]");
  stack.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const part = (event.clientX - box.left) / box.width;
    if (part < 0 || part > 1 || !times.length) return leave();
    const row = nearest(start + part * (end - start));
    const at = (times[row] - start) / (end - start);
    stack.classList.add("live");
    stack.style.setProperty("--x", `${Math.min(1, Math.max(0, at)) * 100}%`);
    when.textContent = `${clock(times[row])} ${rows.state[row]}`;
    for (const b of values) {
      const value = rows[b.dataset.k]?.[row];
      b.textContent = value == null ? "" : value.toFixed(b.dataset.d);
    }
  });
  const leave = () => {
    stack.classList.remove("live");
    for (const b of values) b.textContent = "";
  };
  stack.addEventListener("pointerleave", leave);
}
