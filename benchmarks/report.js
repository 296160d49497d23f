// Tables are sorted by the column that is clicked; numbers by value, lines without one last.
document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("th").forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      const cell = (row) => row.cells[Math.min(column, row.cells.length - 1)];  // the last may span many
      const numeric = rows.some((row) => cell(row).dataset.value !== undefined);
      rows.sort((a, b) => {
        const [x, y] = [cell(a), cell(b)];
        if (!numeric) return sign * x.textContent.localeCompare(y.textContent);
        const [known, other] = [x.dataset.value !== undefined, y.dataset.value !== undefined];
        if (!known || !other) return Number(other) - Number(known);
        return sign * (x.dataset.value - y.dataset.value);
      });
      table.tBodies[0].append(...rows);
    });
  });
});
