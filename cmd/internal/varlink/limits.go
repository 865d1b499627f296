package varlink

import "sync"

// quota counts connections, in total and of each user.
type quota struct {
	mu         sync.Mutex
	total      int
	byUID      map[uint32]int
	maxTotal   int
	maxOfOneID int
}

func newQuota(total, perUID int) *quota {
	return &quota{byUID: make(map[uint32]int), maxTotal: total, maxOfOneID: perUID}
}

// take reports whether uid may have one more connection.
func (q *quota) take(uid uint32) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.maxTotal || q.byUID[uid] >= q.maxOfOneID {
		return false
	}
	q.total++
	q.byUID[uid]++
	return true
}

func (q *quota) give(uid uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.byUID[uid]--; q.byUID[uid] == 0 {
		delete(q.byUID, uid)
	}
}

func (q *quota) held() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}
