package inspect

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"countersign/signing/inventory"
)

// Options say how a pool runs its children.
type Options struct {
	// Command is the program and its arguments; it must run [Worker] with Limits.
	Command []string
	Workers int // children kept ready; default 1
	// Documents is how many a child reads before it is replaced; default 200.
	Documents int
	Limits    Limits        // default [DefaultLimits]
	Largest   int64         // bytes of a document that is read at all; default 32 MB
	Timeout   time.Duration // for one document; default 20 s
}

// A Pool keeps child processes ready. It is safe for concurrent use; Close ends it.
type Pool struct {
	o      Options
	idle   chan *child // nil: a place whose child could not be started yet
	wg     sync.WaitGroup
	closed chan struct{}
	once   sync.Once
}

// New returns a pool. It starts no child: [Pool.Start] does, and else the first
// documents do.
func New(o Options) *Pool {
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Documents == 0 {
		o.Documents = 200
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Largest == 0 {
		o.Largest = 32 << 20
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	p := &Pool{o: o, idle: make(chan *child, o.Workers), closed: make(chan struct{})}
	for range o.Workers {
		p.idle <- nil
	}
	return p
}

// Start starts the children and does not wait for them.
func (p *Pool) Start() {
	for range p.o.Workers {
		p.wg.Go(func() {
			select {
			case c := <-p.idle:
				if c != nil {
					p.idle <- c
					return
				}
				p.replace()
			case <-p.closed: // Close takes all places
			}
		})
	}
}

// replace fills a free place. If no child can be started now, the next document
// tries again.
func (p *Pool) replace() {
	c, err := p.start()
	if err != nil {
		c = nil
	}
	p.idle <- c
}

// Close waits for the documents in work and ends the children.
func (p *Pool) Close() {
	p.once.Do(func() {
		close(p.closed)
		for range p.o.Workers {
			if c := <-p.idle; c != nil {
				c.end()
			}
		}
		p.wg.Wait()
	})
}

// Read reads a document with the second reader. [inventory.ErrNoReading] says that there is no
// reading; other errors are those of ctx and of r.
func (p *Pool) Read(ctx context.Context, r io.ReaderAt, size int64) (inventory.Reading, error) {
	if size > min(p.o.Largest, maxDocument) {
		return inventory.Reading{}, fmt.Errorf("%w: the document has more than %d MB", inventory.ErrNoReading, p.o.Largest>>20)
	}
	var c *child
	select {
	case c = <-p.idle:
	case <-ctx.Done():
		return inventory.Reading{}, ctx.Err()
	case <-p.closed:
		return inventory.Reading{}, fmt.Errorf("%w: it was stopped", inventory.ErrNoReading)
	}
	if c == nil {
		var err error
		if c, err = p.start(); err != nil {
			p.idle <- nil
			return inventory.Reading{}, fmt.Errorf("%w: starting it: %w", inventory.ErrNoReading, err)
		}
	}
	a, err := p.ask(ctx, c, io.NewSectionReader(r, 0, size))
	if err != nil || c.spent(p.o, a) {
		p.wg.Go(func() {
			c.end()
			p.replace()
		})
	} else {
		p.idle <- c
	}
	switch {
	case err != nil:
		return inventory.Reading{}, err
	case a.Error != "":
		return inventory.Reading{}, fmt.Errorf("%w: %.200s", inventory.ErrNoReading, a.Error)
	}
	return a.Reading, nil
}

// ask gives a document to a child and waits for its answer; whatever goes wrong, the
// child is of no more use.
func (p *Pool) ask(ctx context.Context, c *child, doc *io.SectionReader) (answer, error) {
	limit, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	stop := context.AfterFunc(limit, c.kill)
	defer stop()
	began := time.Now()
	noted := &noting{r: doc}
	a, err := c.exchange(noted, doc.Size())
	c.busy += time.Since(began)
	c.documents++
	switch {
	case err == nil:
		if !stop() { // it is being killed, too late for this document
			c.documents = p.o.Documents
		}
		return a, nil
	case ctx.Err() != nil:
		return a, ctx.Err()
	case noted.err != nil:
		return a, noted.err
	case limit.Err() != nil:
		return a, fmt.Errorf("%w: it took longer than %v", inventory.ErrNoReading, p.o.Timeout)
	}
	return a, fmt.Errorf("%w: it ended over this document, for want of memory most likely", inventory.ErrNoReading)
}

// noting remembers an error of the document's own reader.
type noting struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (n *noting) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// A child is one process that runs [Worker].
type child struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       io.ReadCloser
	documents int
	busy      time.Duration
}

func (p *Pool) start() (*child, error) {
	select {
	case <-p.closed:
		return nil, errors.New("the pool is closed")
	default:
	}
	c := &child{cmd: exec.Command(p.o.Command[0], p.o.Command[1:]...)}
	c.cmd.Env, c.cmd.Dir = []string{}, "/"
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

// exchange sends a document and reads the answer.
func (c *child) exchange(doc io.Reader, size int64) (a answer, err error) {
	if _, err := c.in.Write(binary.BigEndian.AppendUint64(nil, uint64(size))); err != nil {
		return a, err
	}
	if n, err := io.Copy(c.in, doc); err != nil || n != size {
		return a, errors.Join(err, io.ErrUnexpectedEOF)
	}
	var head [4]byte
	if _, err := io.ReadFull(c.out, head[:]); err != nil {
		return a, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxAnswer {
		return a, fmt.Errorf("an answer of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.out, b); err != nil {
		return a, err
	}
	return a, json.Unmarshal(b, &a)
}

// spent reports whether a child is to be replaced: it grew, or has worked so long that
// its processor time could end within a document.
func (c *child) spent(o Options, a answer) bool {
	return c.documents >= o.Documents || c.busy > o.Limits.CPU/2 || a.Memory > uint64(o.Limits.Memory/2)
}

func (c *child) kill() { _ = c.cmd.Process.Kill() } // it may have ended already

// end ends a child, politely only if it has nothing in hand.
func (c *child) end() {
	_ = c.in.Close()
	c.kill()
	_ = c.cmd.Wait() // how it ended says nothing: it was killed
}
