// Long work in slices, so that the page answers in between.
const SLICE_MS = 25;
const STALE = Symbol("a later piece of work has taken its place");

function nextTask() {
  if (globalThis.scheduler?.yield) return scheduler.yield();
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => done();
    port2.postMessage(null);
  });
}

// `pause()` is null while the slice lasts, else a promise to wait for; work that fits into one slice is done at once.
function makePause(superseded = () => false) {
  let since = performance.now();
  return () => {
    if (performance.now() - since < SLICE_MS) return null;
    return nextTask().then(() => {
      if (superseded()) throw STALE;
      since = performance.now();
    });
  };
}

// Runs one piece of work at a time: a later one takes the place of one that is still under way.
function makeWork(busy) {
  let latest = 0;
  return async (act) => {
    latest += 1;
    const mine = latest;
    busy(true);
    try {
      await act(makePause(() => mine !== latest));
    } catch (problem) {
      if (problem !== STALE) throw problem;
    } finally {
      if (mine === latest) busy(false);
    }
  };
}

// act(i) for all i from 0 on, some thousands between two looks at the clock.
async function eachOf(count, act, pause, step = 4096) {
  for (let at = 0; at < count; at += step) {
    const wait = pause();
    if (wait) await wait;
    const end = Math.min(count, at + step);
    for (let i = at; i < end; i++) act(i);
  }
}
