package inbox

import (
	"context"
	"time"
)

// retrySteps are the pauses after the first, second … failure in a row, in units of
// Config.RetryBase; the last one repeats.
var retrySteps = [...]time.Duration{1, 2, 5, 15, 30, 60}

// retryDelay is the pause after the given number of failures in a row.
func retryDelay(base time.Duration, failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return base * retrySteps[min(failures, len(retrySteps))-1]
}

// longestDelay is the pause for faults that only a person can mend.
func longestDelay(base time.Duration) time.Duration {
	return retryDelay(base, len(retrySteps))
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
