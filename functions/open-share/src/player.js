'use strict';
{
  const audio = document.querySelector('audio');
  const source = audio.src;
  const from = Number(audio.dataset.from || 0);
  const to = Number(audio.dataset.to || Infinity);
  const within = (seconds) => Math.min(Math.max(seconds, from), to);
  let position = from;
  let failures = 0;

  const seek = (seconds, play) => {
    position = within(seconds);
    const go = () => {
      audio.currentTime = position;
      if (play) audio.play().catch(() => {});
    };
    if (audio.readyState > 0) go();
    else audio.addEventListener('loadedmetadata', go, { once: true });
  };
  const seekToFragment = () => {
    const match = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
    if (match) seek(Number(match[1]), false);
  };

  audio.addEventListener('timeupdate', () => {
    if (audio.error || audio.readyState < 2) return;
    failures = 0;
    position = audio.currentTime;
    if (position >= to && !audio.paused) audio.pause();
  });
  audio.addEventListener('play', () => {
    if (audio.currentTime >= to) audio.currentTime = from;
  });
  audio.addEventListener('seeking', () => {
    const seconds = within(audio.currentTime);
    if (Math.abs(seconds - audio.currentTime) > 0.5) audio.currentTime = seconds;
    position = seconds;
  });
  // The URL behind the audio's address is valid for a minute. A request after that fails, and the address leads to a new URL.
  audio.addEventListener('error', () => {
    failures += 1;
    document.getElementById('failed').hidden = failures <= 3;
    if (failures > 3) return;
    const play = !audio.paused;
    audio.src = source;
    audio.load();
    seek(position, play);
  });

  for (const button of document.querySelectorAll('button[data-time]')) {
    button.addEventListener('click', () => {
      const seconds = Number(button.dataset.time);
      history.replaceState(null, '', `#t=${Math.floor(seconds)}`);
      seek(seconds, true);
    });
  }
  addEventListener('hashchange', seekToFragment);
  seekToFragment();
}
