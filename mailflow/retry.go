package mailflow

import "time"

// Backoff returns how long to wait for the next attempt at an effect of that kind
// after the n-th one began (n ≥ 1). The wait is stored before the attempt starts,
// so it is also how long an effect rests whose process died.
func Backoff(kind EffectKind, n int) time.Duration {
	steps := []time.Duration{
		2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute,
		10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
	}
	if kind == EffectSign {
		// The key is here or it is not; only a lost process or a busy token
		// makes it wait.
		steps = steps[:3]
	}
	return steps[min(max(n, 1), len(steps))-1]
}

// GiveUp is how long a letter is tried before our relay counts as refusing it:
// five days, as mail servers do (RFC 5321, 4.5.4.1).
const GiveUp = 5 * 24 * time.Hour
