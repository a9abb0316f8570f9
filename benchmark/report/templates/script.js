"use strict";

// Sorts a table by the column of a heading's button. Rows without a value stay last, and rows that lost contents below
// them. The first click on a column puts its better values first; each further click reverses the order.
function sortTable(button) {
  const heading = button.closest("th");
  const table = heading.closest("table");
  const index = [...heading.parentNode.children].indexOf(heading);
  const before = heading.getAttribute("aria-sort");
  let order = heading.dataset.better === "higher" ? "descending" : "ascending";
  if (before) order = before === "ascending" ? "descending" : "ascending";
  for (const cell of heading.parentNode.children) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: row.cells[index].dataset.sort }));
  rows.sort((left, right) => {
    const unranked = ("unranked" in left.row.dataset) - ("unranked" in right.row.dataset);
    if (unranked) return unranked;
    if (left.key === "" || right.key === "") return (left.key === "") - (right.key === "");
    const difference = Number(left.key) - Number(right.key);
    return sign * (Number.isNaN(difference) ? left.key.localeCompare(right.key) : difference);
  });
  for (const { row } of rows) body.append(row);
  announce("Sorted by " + heading.dataset.name + ", " + order + ".");
}

function announce(text) {
  document.getElementById("status").textContent = text;
}

async function copy(button) {
  const text = button.dataset.copy;
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    // Without permission for the clipboard, the text is copied from a field outside the window.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  announce(done ? "Copied." : "Your browser does not allow copying.");
  if (!done) return;
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
}

// Opens the section that a link leads to.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let box = target; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
  target.scrollIntoView();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.classList.contains("sort")) sortTable(button);
  if (button.classList.contains("copy")) copy(button);
  if (button.classList.contains("picture")) button.focus();
});
document.addEventListener("keydown", (event) => {
  const focused = document.activeElement;
  if (event.key === "Escape" && focused.classList.contains("picture")) focused.blur();
});
window.addEventListener("hashchange", openTarget);
openTarget();
