// Tables are sorted by the column that is clicked; numbers by value, lines without one last.
document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("th").forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending", sign = up ? 1 : -1;
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      const numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
      rows.sort((a, b) => {
        const [x, y] = [a.cells[column], b.cells[column]];
        if (!numeric) return sign * x.textContent.localeCompare(y.textContent);
        const [known, other] = [x.dataset.value !== undefined, y.dataset.value !== undefined];
        if (!known || !other) return Number(other) - Number(known);
        return sign * (x.dataset.value - y.dataset.value);
      });
      table.tBodies[0].append(...rows);
    });
  });
});
