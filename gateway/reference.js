const box = document.getElementById('find'), none = document.getElementById('none');
const parts = [...document.querySelectorAll('[data-find]')];
const groups = [...document.querySelectorAll('section, nav div')];
box.addEventListener('input', () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const part of parts) part.hidden = !words.every(word => part.dataset.find.includes(word));
  for (const group of groups) group.hidden = !group.querySelector('[data-find]:not([hidden])');
  none.hidden = parts.some(part => !part.hidden);
});
addEventListener('keydown', event => {
  if (event.key === '/' && document.activeElement !== box) {
    event.preventDefault();
    box.focus();
  }
});
