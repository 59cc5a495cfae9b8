// Sorts a table by the column whose heading is pressed; without scripts the page is read as it stands.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    if (row.cells[column].dataset.sort) return Number(row.cells[column].dataset.sort);
    const text = row.cells[column].textContent.trim().replaceAll("\u2212", "-").replaceAll(",", "");
    const number = Number.parseFloat(text.replace(/^[<+]\s*/, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1; // what is not measured comes last
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const rising = heading.ariaSort === "descending" || (heading.ariaSort === null && column === 0);
      for (const other of headings) other.ariaSort = null;
      heading.ariaSort = rising ? "ascending" : "descending";
      const rows = [...body.rows];
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return typeof x === typeof y && !rising ? compare(y, x) : compare(x, y);
      });
      body.append(...rows);
    });
  });
}
