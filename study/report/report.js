// Tables are sorted by the column whose heading is pressed, and again for the other order.
const SECONDS = { min: 60, h: 3600 };
const numberOf = (text) => {
  const found = /^[<+]?(-?[\d.]+(?:e[+-]?\d+)?)(?: (min|h)\b)?/.exec(text.replace("−", "-").replaceAll(",", ""));
  return found ? found[1] * (SECONDS[found[2]] ?? 1) : NaN;
};
// What is not known stands last in both orders.
const compare = (first, second, order) => {
  if (first === "–" || second === "–") return (first === "–") - (second === "–");
  const difference = numberOf(first) - numberOf(second);
  return order * (Number.isNaN(difference) ? first.localeCompare(second) : difference);
};
for (const heading of document.querySelectorAll("th")) {
  const button = document.createElement("button");
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const order = heading.ariaSort === "ascending" ? -1 : 1;
    for (const other of heading.parentNode.cells) other.ariaSort = null;
    heading.ariaSort = order > 0 ? "ascending" : "descending";
    const body = heading.closest("table").tBodies[0];
    const textOf = (row) => row.cells[heading.cellIndex].textContent;
    body.append(...[...body.rows].sort((a, b) => compare(textOf(a), textOf(b), order)));
  });
}
